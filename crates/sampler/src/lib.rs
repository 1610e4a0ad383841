//! Diffusion sampling, energies and translation methods. Knows no file.

pub mod schedule;
