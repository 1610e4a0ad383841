//! The realistic expert: be unlike the source in the extractor's features (`lambda_s S_s`).

use super::{Expert, Similarity, State, Weight, similarity};
use egsde_models::{Dse, Loaded};
use tch::Tensor;

/// Energy `weight * S(features(y), features(xt))`.
pub struct DomainSpecific<'a> {
    pub extractor: &'a Loaded<Dse>,
    pub similarity: Similarity,
    /// lambda_s.
    pub weight: Weight,
}

impl Expert for DomainSpecific<'_> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn gradient(&self, state: &State) -> Tensor {
        // The source's features need no gradient graph.
        let source = tch::no_grad(|| self.extractor.features(state.xt, state.t));
        self.extractor.gradient(state.y, state.t, |features| similarity(self.similarity, features, &source))
    }

    fn evaluations(&self) -> (usize, usize) {
        (1, 1)
    }
}
