//! Scores of images: of a job's translations, and of any folders.

pub mod evaluator;
pub mod feature_network;
pub mod folders;
pub mod reference;

pub use evaluator::{Evaluation, Evaluator};
