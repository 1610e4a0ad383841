//! Whether a device computes what the reference computes, how fast, and with how much memory: what
//! `egsde check-gpu` prints. It runs on a CPU too, which shows that every part works.

mod document;
mod errors;
mod jobs;
mod pytorch;
mod scale;
mod setting;
mod steps;

pub use document::{Findings, HEADING};
pub use errors::{CaseErrors, case_errors};
pub use jobs::{WholeJobs, run_whole_jobs};
pub use pytorch::{PytorchStep, check_python, time_pytorch};
pub use scale::{Scale, SteppedMethod};
pub use setting::{GroupNormKernels, Setting};
pub use steps::{StepTimes, time_steps};
