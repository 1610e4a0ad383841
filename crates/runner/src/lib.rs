//! Experiments: specs, plans, jobs, tables, plots and the command line.

pub mod baseline;
pub mod cli;
pub mod cluster;
mod commands;
pub mod dataset;
pub mod device;
pub mod distances;
mod error;
pub mod evaluate;
pub mod evidence;
pub mod execute;
pub mod experts;
mod html;
pub mod interrupt;
pub mod judge;
pub mod ledger;
pub mod manifest;
pub mod measured;
pub mod memory;
pub mod metric;
pub mod paired;
pub mod parity;
pub mod plan;
mod plot;
mod progress;
pub mod render;
pub mod report;
pub mod spec;
pub mod store;
pub mod strangers;
pub mod study;
pub mod sweep;
pub mod table;
pub mod task;
pub mod which;
pub mod workbench;
pub mod workers;
pub mod yaml;

pub use error::Problem;

/// Version of this program and the commit it was built from.
pub const CODE: &str = concat!(
    "egsde ",
    env!("CARGO_PKG_VERSION"),
    " ",
    env!("EGSDE_COMMIT")
);
