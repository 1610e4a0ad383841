//! What people write: experiment files with their rows, sweeps, changes by `--set`, precisions and
//! image formats; published numbers and claims.

pub mod claims;
pub mod experiment;
pub mod image_format;
pub mod overrides;
pub mod paper;
pub mod precision;
pub mod published;
pub mod row;
pub mod sweep;
