//! Files, images and data sets, and what every crate shares: nearest names, lists in messages,
//! locks. Knows no network, no method and no experiment.

// Either may lie on a full disk; the binary alone writes to them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cifar10;
pub mod crop;
pub mod file_kind;
pub mod files;
pub mod image_file;
pub mod image_set;
pub mod lock;
pub mod nearest;
pub mod photo;
pub mod resize;
pub mod text;
