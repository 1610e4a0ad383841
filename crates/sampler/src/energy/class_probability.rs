//! Classifier guidance as an energy (the slides' last part): be what the noised classifier calls class c.

use super::{Expert, State, Weight, gradient_of};
use egsde_models::{Dse, Loaded};
use tch::{Kind, Tensor};

/// Energy `-weight * log p_t(class | y)`.
pub struct ClassProbability<'a> {
    /// The extractor with its classification head.
    pub classifier: &'a Loaded<Dse>,
    /// Index of the class among the classifier's.
    pub class: i64,
    pub weight: Weight,
}

impl Expert for ClassProbability<'_> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn gradient(&self, state: &State) -> Tensor {
        let energy = |y: &Tensor| -self.classifier.logits(y, state.t).log_softmax(-1, Kind::Float).select(1, self.class);
        gradient_of(state.y, energy)
    }

    fn evaluations(&self) -> (usize, usize) {
        (0, 1)
    }
}
