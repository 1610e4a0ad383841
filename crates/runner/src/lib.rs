//! Experiments: specs, plans, jobs, tables, plots and the command line.

pub mod cli;
mod commands;
pub mod dataset;
mod error;
pub mod parity;
mod progress;

pub use error::Problem;
