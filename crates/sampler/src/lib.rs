//! Diffusion sampling, energies and translation methods. Knows no file.

// Either may lie on a full disk; the binary alone writes to them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod analytic;
pub mod cost;
pub mod energy;
pub mod finite_check;
pub mod generators;
pub mod low_pass;
pub mod method;
pub mod noise;
pub mod pixels;
pub mod schedule;
pub mod settings;
pub mod solver;
