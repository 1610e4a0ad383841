//! A job's folder and what lies in it, and the results of a plan's jobs.

pub mod checksums;
pub mod job_dir;
pub mod per_image;
pub mod results;
pub mod scores;
pub mod timings;
