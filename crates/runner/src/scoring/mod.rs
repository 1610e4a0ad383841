//! Scores of images: of a job's translations, and of any folders.

pub mod bad_images;
pub mod evaluator;
pub mod feature_network;
pub mod folder_scores;
pub mod folders;
pub mod pairs;
pub mod reference;
pub mod sides;
pub mod target_classifier;

pub use evaluator::{Evaluation, Evaluator};
