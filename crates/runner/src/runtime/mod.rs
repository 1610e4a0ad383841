//! The machine: devices, memory, console, progress, signals.

pub mod console;
pub mod device;
pub mod machine;
pub mod memory;
pub mod memory_fault;
pub mod progress;
pub mod signal;
