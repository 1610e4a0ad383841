//! The commands, one file each.

pub mod cancel;
pub mod claims;
pub mod compare;
pub mod completions;
pub mod data;
pub mod eval;
pub mod explain;
mod job_folders;
pub mod man;
mod measure_noise;
pub mod merge;
mod output;
pub mod parity;
pub mod plan;
pub mod report;
pub mod run;
pub mod slurm_task;
pub mod status;
pub mod study;
pub mod submit;
pub mod table;
pub mod task;
pub mod train;
mod train_translation;
mod training_args;
pub mod verify;
pub mod weights;
