//! What people write: experiment files, their rows and sweeps.

pub mod experiment;
pub mod image_format;
pub mod overrides;
pub mod precision;
pub mod row;
pub mod sweep;
