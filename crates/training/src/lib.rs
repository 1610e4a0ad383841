//! Training of the embedded networks. Only the `train` command reaches this crate.

mod augment;
mod evaluation;
mod objective;
mod optimizer;
pub mod recipe;
mod trainer;

pub use recipe::Recipe;
pub use trainer::{Event, Outcome, TrainingOptions, train};
