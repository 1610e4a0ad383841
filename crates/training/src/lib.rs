//! Training of the embedded networks. Only the `train` command reaches this crate.

mod augment;
mod figures;
mod optimizer;
pub mod recipe;
mod task;
mod trainer;

pub use figures::{DseFigures, accuracy_over_time};
pub use recipe::Recipe;
pub use trainer::{Event, Outcome, Setting, train};
