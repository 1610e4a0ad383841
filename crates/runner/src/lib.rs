//! Experiments: configuration, plans, jobs, tables, plots and the command line.

// Either may lie on a full disk; `runtime::console` writes to them and says so.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod analysis;
pub mod cli;
pub mod cluster;
mod commands;
pub mod config;
mod csv_file;
mod error;
pub mod fuzzing;
pub mod gpu_check;
pub mod inputs;
pub mod parity;
mod paths;
pub mod plan;
pub mod project;
pub mod report;
pub mod run;
pub mod runtime;
pub mod scoring;
pub mod store;
pub mod study;
pub mod yaml;

pub use error::{CheckFailed, Interrupted, InvalidInput, ReaderGone};

/// Version, commit and libtorch of this program, as `--version` tells them.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("EGSDE_COMMIT"),
    ", libtorch ",
    env!("EGSDE_LIBTORCH"),
    ")"
);

/// Version of this program and the commit it was built from.
pub const CODE: &str = concat!(
    "egsde ",
    env!("CARGO_PKG_VERSION"),
    " ",
    env!("EGSDE_COMMIT")
);
