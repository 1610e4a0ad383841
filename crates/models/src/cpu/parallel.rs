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
        unsafe { program.get::<GompParallel>(b"GOMP_parallel\0").ok().map(|symbol| *symbol) }
    })
}

/// What the threads share: the next thing to do, how many there are, and how.
struct Work<'a> {
    next: AtomicUsize,
    count: usize,
    each: &'a (dyn Fn(usize) + Sync),
}

impl Work<'_> {
    fn drain(&self) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.count {
                return;
            }
            (self.each)(i);
        }
    }
}

extern "C" fn thread(work: *mut c_void) {
    // SAFETY: `run` hands over a `Work` that lives until all threads are done.
    unsafe { &*work.cast_const().cast::<Work>() }.drain();
}

/// Does things 0 to `count` on as many threads as libtorch uses; which thread does which must not matter.
pub fn run(count: usize, each: impl Fn(usize) + Sync) {
    let work = Work { next: AtomicUsize::new(0), count, each: &each };
    let threads = count.min(tch::get_num_threads().max(1) as usize);
    match gomp() {
        // SAFETY: returns only after every thread has left `thread`.
        Some(parallel) if threads > 1 => unsafe {
            parallel(thread, std::ptr::from_ref(&work).cast_mut().cast(), threads as c_uint, 0);
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
        let done: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        run(done.len(), |i| _ = done[i].fetch_add(1, Ordering::Relaxed));
        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
        run(0, |_| panic!("nothing to do"));
        assert!(gomp().is_some(), "libtorch's OpenMP was not found: threads are started for every layer");
    }
}
