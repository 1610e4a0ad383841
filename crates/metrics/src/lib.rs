//! Image-translation metrics and their intervals. Knows no method and no experiment.

// Either may lie on a full disk; the binary alone writes to them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod averages;
pub mod feature_sets;
pub mod fid_statistics;
pub mod frechet;
pub mod intervals;
pub mod kid;
pub mod neighbours;
pub mod pairwise;
pub mod precision_recall;
pub mod protocol;
pub mod reference;
pub mod registry;
pub mod target_share;
