//! Running jobs: the networks on a device, one job, and the workers that share a plan.

mod device_loss;
pub mod job_queue;
pub mod job_sampler;
pub mod job_scorer;
pub mod pipeline;
pub mod preview;
pub mod run_progress;
pub mod scheduler;
pub mod workers;
