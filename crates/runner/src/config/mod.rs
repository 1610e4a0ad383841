//! What people write: experiment files, their rows and sweeps, published numbers and claims.

pub mod claims;
pub mod experiment;
pub mod image_format;
pub mod overrides;
pub mod paper;
pub mod precision;
pub mod published;
pub mod row;
pub mod sweep;
