//! Loops shared by libtorch's own threads, and work that leaves them out. A second pool of threads
//! would compete with libtorch's, whose threads wait actively for their next work.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `GOMP_parallel(function, data, threads, flags)`: calls `function(data)` in that many threads and
/// returns after the last of them has.
type GompParallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// A function of the OpenMP library that libtorch brought along, by its name with a zero behind it.
///
/// # Safety
/// `F` must be the signature of the function that has this name.
unsafe fn openmp_function<F: Copy>(name: &[u8]) -> Option<F> {
    let program = libloading::os::unix::Library::this();
    // SAFETY: the caller vouches for the signature.
    unsafe { program.get::<F>(name).ok().map(|symbol| *symbol) }
}

/// `GOMP_parallel`, where the library is GNU OpenMP.
fn gomp_parallel() -> Option<GompParallel> {
    static FOUND: OnceLock<Option<GompParallel>> = OnceLock::new();
    // SAFETY: GNU OpenMP's documented entry point has this signature in every version.
    *FOUND.get_or_init(|| unsafe { openmp_function(b"GOMP_parallel\0") })
}

/// `omp_set_num_threads(threads)`: with how many threads the calling thread starts loops.
type SetThreads = unsafe extern "C" fn(c_int);

fn omp_set_num_threads() -> Option<SetThreads> {
    static FOUND: OnceLock<Option<SetThreads>> = OnceLock::new();
    // SAFETY: OpenMP's standard gives it this signature.
    *FOUND.get_or_init(|| unsafe { openmp_function(b"omp_set_num_threads\0") })
}

/// Runs `work` with libtorch's operations on the calling thread alone: for many small operations of
/// which several threads do one each. The order of their sums no longer depends on the machine's
/// number of cores. The thread's own number of threads comes back afterwards.
pub fn in_one_thread<T>(work: impl FnOnce() -> T) -> T {
    let before = max_threads();
    limit_threads(1);
    let done = work();
    limit_threads(before);
    done
}

/// Makes libtorch's operations take this many threads where the calling thread starts them. Other
/// threads keep theirs.
pub fn limit_threads(threads: usize) {
    // libtorch sets the number itself, once, when a thread first asks for it.
    let _ = tch::get_num_threads();
    if let Some(set) = omp_set_num_threads() {
        // SAFETY: it only writes a number that belongs to the calling thread.
        unsafe { set(threads as c_int) };
    }
}

/// The state of one [`parallel_for`], which all its threads share.
struct SharedLoop<'a> {
    /// Threads that have joined so far; the number of the next one.
    joined: AtomicUsize,
    /// The next index to do.
    next: AtomicUsize,
    /// The index after the last.
    count: usize,
    body: &'a (dyn Fn(usize, usize) + Sync),
}

impl SharedLoop<'_> {
    /// Joins the loop and takes indices until none is left.
    fn join(&self) {
        let thread = self.joined.fetch_add(1, Ordering::Relaxed);
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            (self.body)(thread, index);
        }
    }
}

/// What OpenMP calls in each thread.
extern "C" fn join_shared_loop(data: *mut c_void) {
    // SAFETY: `parallel_for` passes a `SharedLoop` that lives until all threads have returned.
    unsafe { &*data.cast_const().cast::<SharedLoop>() }.join();
}

/// The most threads that [`parallel_for`] uses: libtorch's own number of threads.
pub fn max_threads() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// Calls `body(thread, index)` once for each index below `count`, on as many threads as libtorch
/// uses. `thread` is a number below [`max_threads`] that no two threads share, for buffers of their
/// own. Which thread gets which index is left to chance and must not matter. `body` must neither
/// panic nor allocate much, as it has no way to report a failure.
pub fn parallel_for(count: usize, body: impl Fn(usize, usize) + Sync) {
    let (joined, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = SharedLoop {
        joined,
        next,
        count,
        body: &body,
    };
    let threads = count.min(max_threads());
    match gomp_parallel() {
        // SAFETY: `GOMP_parallel` returns only after every thread has left `join_shared_loop`.
        Some(parallel) if threads > 1 => unsafe {
            let data = std::ptr::from_ref(&work).cast_mut().cast();
            parallel(join_shared_loop, data, threads as c_uint, 0);
        },
        _ if threads > 1 => std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| work.join());
            }
        }),
        _ => work.join(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_comes_back() {
        let before = tch::get_num_threads();
        assert_eq!(in_one_thread(tch::get_num_threads), 1);
        assert_eq!(tch::get_num_threads(), before);
    }

    #[test]
    fn a_limit_holds_in_the_thread_that_set_it_alone() {
        let before = tch::get_num_threads();
        let limited = std::thread::spawn(|| {
            limit_threads(3);
            (tch::get_num_threads(), max_threads())
        });
        assert_eq!(limited.join().unwrap(), (3, 3));
        assert_eq!(tch::get_num_threads(), before);
    }

    #[test]
    fn every_index_is_done_once_by_a_thread_of_libtorch() {
        // Read outside the loop: one of OpenMP's threads may answer with the size of its own team.
        let most = max_threads();
        let done: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        parallel_for(done.len(), |thread, i| {
            assert!(thread < most);
            done[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
        parallel_for(0, |_, _| panic!("nothing to do"));
        assert!(
            gomp_parallel().is_some(),
            "libtorch's OpenMP was not found: threads are started for every layer"
        );
    }
}
