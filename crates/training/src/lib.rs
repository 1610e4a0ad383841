//! Training of networks: the embedded ones, those of own pictures, and the GANs that the table
//! compares with. `egsde train` trains, the golden cases take single steps; recipes are read
//! elsewhere, too.

// Either may lie on a full disk; the binary alone writes to them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod augment;
mod checkpoint;
pub mod data;
mod evaluation;
pub mod gan;
mod loss_log;
mod metadata;
mod moments;
mod objective;
mod optimizer;
pub mod recipe;
mod trainer;

pub use data::TrainingData;
pub use recipe::Recipe;
pub use trainer::{Event, Outcome, TrainingOptions, train};
