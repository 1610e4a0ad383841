//! The realistic expert: be unlike the source in the extractor's features (`lambda_s S_s`).

use super::{Expert, Similarity, SourceFeatures, State, Weight, similarity};
use egsde_models::{Dse, Loaded};
use tch::Tensor;

/// Energy `weight * S(features(y), features(xt))`.
pub struct DomainSpecific<'a> {
    pub extractor: &'a Loaded<Dse>,
    pub similarity: Similarity,
    /// lambda_s.
    pub weight: Weight,
    /// Where others with the same sources and noise left their features.
    pub shared: Option<&'a SourceFeatures>,
}

impl Expert for DomainSpecific<'_> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn gradient(&self, state: &State) -> Tensor {
        // The source's features need no gradient graph.
        let make = || tch::no_grad(|| self.extractor.features(state.xt, state.t));
        let source = self
            .shared
            .map_or_else(make, |shared| shared.of(state.xt, state.t, make));
        self.extractor.gradient(state.y, state.t, |features| {
            similarity(self.similarity, features, &source)
        })
    }

    fn evaluations(&self) -> (usize, usize) {
        (1, 1)
    }
}
