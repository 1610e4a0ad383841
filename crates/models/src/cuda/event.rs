//! Events: marks in the work that was handed to a GPU, with the time at which it came to them.

use super::index_of_loaded;
use std::ffi::c_void;
use tch::Device;

unsafe extern "C" {
    fn egsde_event_new() -> *mut c_void;
    fn egsde_event_record(event: *mut c_void, index: i32) -> bool;
    fn egsde_event_wait(event: *mut c_void) -> bool;
    fn egsde_event_milliseconds(first: *mut c_void, last: *mut c_void) -> f64;
    fn egsde_event_drop(event: *mut c_void);
}

/// A mark behind all work that a thread had handed to a GPU.
#[derive(Debug)]
pub struct Event(*mut c_void);

// SAFETY: CUDA's events belong to a device and not to a thread; one thread at a time uses it.
unsafe impl Send for Event {}

impl Event {
    /// Marks the work that this thread has handed to the device so far; none on a CPU, and where
    /// CUDA is not loaded or no longer works.
    pub fn record(device: Device) -> Option<Self> {
        let index = index_of_loaded(device)?;
        // SAFETY: CUDA is loaded; `drop` gives the event back.
        let event = Self(unsafe { egsde_event_new() });
        // SAFETY: the event was just made.
        let is_recorded = !event.0.is_null() && unsafe { egsde_event_record(event.0, index) };
        is_recorded.then_some(event)
    }

    /// Waits until the device has come to the mark; false where it no longer works.
    pub fn wait(&self) -> bool {
        // SAFETY: the event was recorded.
        unsafe { egsde_event_wait(self.0) }
    }

    /// Seconds on the device from `earlier` to this mark, to which the device must come first;
    /// none where it no longer works.
    pub fn seconds_since(&self, earlier: &Self) -> Option<f64> {
        // SAFETY: both events were recorded.
        let milliseconds = unsafe { egsde_event_milliseconds(earlier.0, self.0) };
        (milliseconds >= 0.0).then_some(milliseconds / 1e3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by `record`, and given back once.
            unsafe { egsde_event_drop(self.0) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_events_without_a_gpu() {
        assert!(Event::record(Device::Cpu).is_none());
        assert!(Event::record(Device::Cuda(0)).is_none());
    }
}
