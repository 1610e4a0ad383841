//! How long each thread has spent in networks.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Seconds that this thread has spent in networks so far. On a GPU that is the time to hand the
/// work over, not to compute it.
pub fn seconds_in_networks() -> f64 {
    SPENT.get().as_secs_f64()
}

/// Does a network's work and adds its time to this thread's.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    SPENT.set(SPENT.get() + start.elapsed());
    result
}
