//! Experiments: configuration, plans, jobs, tables, plots and the command line.

pub mod analysis;
pub mod cli;
pub mod cluster;
mod commands;
pub mod config;
mod error;
pub mod fuzzing;
pub mod inputs;
pub mod parity;
pub mod plan;
pub mod project;
pub mod report;
pub mod run;
pub mod runtime;
pub mod scoring;
pub mod store;
pub mod study;
pub mod yaml;

pub use error::{CheckFailed, Interrupted, InvalidInput};

/// Version of this program and the commit it was built from.
pub const CODE: &str = concat!(
    "egsde ",
    env!("CARGO_PKG_VERSION"),
    " ",
    env!("EGSDE_COMMIT")
);
