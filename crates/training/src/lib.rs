//! Training of the embedded networks and of the GANs that the table compares with. The `train`
//! command and the golden cases reach this crate.

mod augment;
mod evaluation;
pub mod gan;
mod loss_log;
mod objective;
mod optimizer;
pub mod recipe;
mod trainer;

pub use recipe::Recipe;
pub use trainer::{Event, Outcome, TrainingOptions, train};
