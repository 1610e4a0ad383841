//! One file a command.

pub mod cluster;
pub mod data;
pub mod eval;
pub mod experiment;
pub mod merge;
pub mod parity;
pub mod provenance;
pub mod study;
pub mod train;
pub mod weights;
