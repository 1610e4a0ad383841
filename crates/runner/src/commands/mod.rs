//! One file a command.

pub mod data;
pub mod eval;
pub mod experiment;
pub mod parity;
pub mod train;
pub mod weights;
