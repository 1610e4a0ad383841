//! How long each thread's networks have computed.

use crate::cuda::{Event, takes_own_ways};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use tch::Device;

/// Two marks around one piece of work on a GPU.
trait Span {
    /// Seconds on the device between the two; it waits for the later one.
    fn seconds(&self) -> f64;
}

struct DeviceSpan {
    first: Event,
    last: Event,
}

impl Span for DeviceSpan {
    fn seconds(&self) -> f64 {
        self.last.seconds_since(&self.first).unwrap_or(0.0)
    }
}

/// Pieces of work whose marks are kept before the older half is asked for its time. The device has
/// come to those long ago, so that nothing waits.
const MOST_SPANS: usize = 1024;

/// Work on a GPU whose time was not read yet, in order.
struct Spans<S> {
    open: Vec<S>,
    /// Seconds of those that were read.
    seconds: f64,
}

impl<S: Span> Spans<S> {
    const fn new() -> Self {
        Self {
            open: Vec::new(),
            seconds: 0.0,
        }
    }

    fn read_first(&mut self, count: usize) {
        for span in self.open.drain(..count) {
            self.seconds += span.seconds();
        }
    }

    fn add(&mut self, span: S) {
        self.open.push(span);
        if self.open.len() >= MOST_SPANS {
            self.read_first(MOST_SPANS / 2);
        }
    }

    /// Seconds of all work so far.
    fn total(&mut self) -> f64 {
        self.read_first(self.open.len());
        self.seconds
    }
}

thread_local! {
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static ON_DEVICE: RefCell<Spans<DeviceSpan>> = const { RefCell::new(Spans::new()) };
}

/// Seconds that this thread's networks have computed so far. On a GPU they are measured there, and
/// the device first finishes what it was given.
pub fn seconds_in_networks() -> f64 {
    SPENT.get().as_secs_f64() + ON_DEVICE.with_borrow_mut(Spans::total)
}

fn record(device: Device) -> Option<Event> {
    if takes_own_ways(device) {
        Event::record(device)
    } else {
        None
    }
}

/// Does a network's work on a device and adds its time to this thread's.
pub(super) fn timed<T>(device: Device, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let first = record(device);
    let result = work();
    match first.zip(record(device)) {
        Some((first, last)) => {
            ON_DEVICE.with_borrow_mut(|spans| spans.add(DeviceSpan { first, last }));
        }
        None => SPENT.set(SPENT.get() + start.elapsed()),
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    /// A piece of work of one second, which notes that it was read.
    struct OneSecond {
        read: Rc<Cell<usize>>,
    }

    impl Span for OneSecond {
        fn seconds(&self) -> f64 {
            self.read.set(self.read.get() + 1);
            1.0
        }
    }

    #[test]
    fn the_device_is_asked_late_and_every_second_counts_once() {
        let read = Rc::new(Cell::new(0));
        let mut spans = Spans::new();
        for _ in 0..MOST_SPANS - 1 {
            spans.add(OneSecond { read: read.clone() });
        }
        assert_eq!(read.get(), 0);
        spans.add(OneSecond { read: read.clone() });
        assert_eq!(read.get(), MOST_SPANS / 2);
        assert_eq!(spans.total(), MOST_SPANS as f64);
        assert_eq!(spans.total(), MOST_SPANS as f64);
        assert_eq!(read.get(), MOST_SPANS);
    }

    #[test]
    fn time_on_the_cpu_counts() {
        let before = seconds_in_networks();
        let pause = Duration::from_millis(2);
        timed(Device::Cpu, || std::thread::sleep(pause));
        assert!(seconds_in_networks() - before >= pause.as_secs_f64());
    }
}
