//! Experiments: specs, plans, jobs, tables, plots and the command line.

pub mod baseline;
pub mod cli;
mod commands;
pub mod dataset;
mod error;
pub mod evaluate;
pub mod execute;
pub mod judge;
pub mod manifest;
pub mod measured;
pub mod parity;
pub mod plan;
mod plot;
mod progress;
pub mod render;
pub mod spec;
pub mod store;
pub mod table;
pub mod task;
pub mod workbench;
pub mod yaml;

pub use error::Problem;

/// Version of this program and the commit it was built from.
pub const CODE: &str = concat!("egsde ", env!("CARGO_PKG_VERSION"), " ", env!("EGSDE_COMMIT"));
