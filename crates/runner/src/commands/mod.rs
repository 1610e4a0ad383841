//! One file a command.

pub mod data;
pub mod experiment;
pub mod parity;
pub mod train;
