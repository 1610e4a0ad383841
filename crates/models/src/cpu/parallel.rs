//! Work shared by libtorch's own threads: a second pool would fight the first one, whose threads wait actively.

use std::ffi::{c_uint, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

type GompParallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// `GOMP_parallel` of the OpenMP library that libtorch brought along, if it is that one.
fn gomp() -> Option<GompParallel> {
    static FOUND: OnceLock<Option<GompParallel>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let program = libloading::os::unix::Library::this();
        // SAFETY: GNU OpenMP's documented entry point has this signature in every version.
        unsafe {
            program
                .get::<GompParallel>(b"GOMP_parallel\0")
                .ok()
                .map(|symbol| *symbol)
        }
    })
}

/// What the threads share: how many have come, the next thing to do, how many there are, and how.
struct Work<'a> {
    threads: AtomicUsize,
    next: AtomicUsize,
    count: usize,
    each: &'a (dyn Fn(usize, usize) + Sync),
}

impl Work<'_> {
    fn drain(&self) {
        let thread = self.threads.fetch_add(1, Ordering::Relaxed);
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.count {
                return;
            }
            (self.each)(thread, i);
        }
    }
}

extern "C" fn thread(work: *mut c_void) {
    // SAFETY: `run` hands over a `Work` that lives until all threads are done.
    unsafe { &*work.cast_const().cast::<Work>() }.drain();
}

/// Threads that [`run`] uses at most.
pub fn threads() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// Does things 0 to `count` on as many threads as libtorch uses; `each` gets a thread's number, below [`threads`], and the
/// thing's. Which thread does which must not matter. `each` must neither panic nor allocate much: it cannot fail.
pub fn run(count: usize, each: impl Fn(usize, usize) + Sync) {
    let work = Work {
        threads: AtomicUsize::new(0),
        next: AtomicUsize::new(0),
        count,
        each: &each,
    };
    let threads = count.min(threads());
    match gomp() {
        // SAFETY: returns only after every thread has left `thread`.
        Some(parallel) if threads > 1 => unsafe {
            parallel(
                thread,
                std::ptr::from_ref(&work).cast_mut().cast(),
                threads as c_uint,
                0,
            );
        },
        _ if threads > 1 => std::thread::scope(|scope| {
            (0..threads).for_each(|_| _ = scope.spawn(|| work.drain()));
        }),
        _ => work.drain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once() {
        // Asked here: inside, one of OpenMP's threads may answer with the number of its own team.
        let most = threads();
        let done: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        run(done.len(), |thread, i| {
            assert!(thread < most);
            done[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
        run(0, |_, _| panic!("nothing to do"));
        assert!(
            gomp().is_some(),
            "libtorch's OpenMP was not found: threads are started for every layer"
        );
    }
}
