//! Experiments on a Slurm cluster: job arrays over a plan's unfinished jobs, and a job that
//! collects their results.
//!
//! Slurm is asked through its own commands (`sbatch`, `squeue`, `scontrol`, `scancel`); what is
//! done is known from the store alone.

pub mod hand_over;
pub mod script;
pub mod site;
pub mod slurm;
pub mod status;
pub mod submission;
pub mod tasks;
