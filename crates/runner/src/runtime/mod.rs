//! The machine: devices, memory, progress, signals.

pub mod device;
pub mod memory;
pub mod progress;
pub mod signal;
