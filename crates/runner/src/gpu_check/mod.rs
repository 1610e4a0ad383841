//! Whether a device computes what the reference computes, how fast, and with how much memory: what
//! `egsde check-gpu` prints. It runs on a CPU too, which shows that every part works.

mod document;
mod errors;
mod jobs;
mod pytorch;
mod scale;
mod steps;

pub use document::{Findings, HEADING};
pub use errors::{CaseErrors, case_errors};
pub use jobs::{WholeJobs, run_whole_jobs};
pub use pytorch::{PytorchStep, time_pytorch};
pub use scale::{Scale, SteppedMethod};
pub use steps::{StepTimes, time_steps};

use crate::config::precision::Precision;
use tch::Device;

/// The precisions that are looked at.
pub const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

/// The precisions in which a device computes.
pub fn precisions_of_device(device: Device) -> Vec<Precision> {
    let computes = |precision: &Precision| precision.prepare(device).is_ok();
    PRECISIONS.into_iter().filter(computes).collect()
}
