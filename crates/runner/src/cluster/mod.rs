//! Experiments on a Slurm cluster: one job array over a plan's unfinished jobs, and a job that collects them.
//!
//! Slurm is asked through its own commands (`sbatch`, `squeue`, `scontrol`, `scancel`); what is done is known from the store alone.

pub mod script;
pub mod site;
pub mod slurm;
pub mod status;
pub mod submission;
