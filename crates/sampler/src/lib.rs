//! Diffusion sampling, energies and translation methods. Knows no file.

pub mod energy;
pub mod low_pass;
pub mod method;
pub mod noise;
pub mod schedule;
pub mod watch;
