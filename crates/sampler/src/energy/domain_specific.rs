//! The realistic expert: be unlike the source in the extractor's features (`lambda_s S_s`).

use super::{Expert, ExpertSettings, Similarity, SourceFeatures, State, Weight, similarity};
use crate::cost::ExpertCost;
use crate::settings::{Networks, TaskFacts};
use anyhow::{Context, Result};
use egsde_models::{Dse, Loaded};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Keys of the expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainSpecificConfig {
    /// Its weight.
    pub weight: Weight,
    /// S; cosine when left out.
    #[serde(default = "default_similarity")]
    pub similarity: Similarity,
}

fn default_similarity() -> Similarity {
    Similarity::Cosine
}

/// Energy `weight * S(features(y), features(xt))`.
pub struct DomainSpecific<'a> {
    /// The domain-specific extractor.
    pub extractor: &'a Loaded<Dse>,
    /// S.
    pub similarity: Similarity,
    /// lambda_s.
    pub weight: Weight,
    /// The source's features that other experts with the same sources and noise computed.
    pub shared: Option<&'a SourceFeatures>,
}

impl DomainSpecific<'_> {
    /// One evaluation for the source's features, one with gradient for the sample's.
    pub const COST: ExpertCost = ExpertCost {
        forward: 1,
        gradient: 1,
    };

    /// The source's features, without a gradient graph.
    fn source_features(&self, state: &State) -> Tensor {
        tch::no_grad(|| self.extractor.features(state.xt, state.t))
    }
}

impl Expert for DomainSpecific<'_> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn gradient(&self, state: &State) -> Tensor {
        let source = match (self.shared, &state.source_key) {
            (Some(shared), Some(key)) => shared.get_or_compute(key, || self.source_features(state)),
            _ => self.source_features(state),
        };
        self.extractor.gradient(state.y, state.t, |features| {
            similarity(self.similarity, features, &source)
        })
    }
}

impl ExpertSettings for DomainSpecificConfig {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn cost(&self) -> ExpertCost {
        DomainSpecific::COST
    }

    fn settle(&self, _: usize, _: &TaskFacts) -> Result<Self> {
        Ok(self.clone())
    }

    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Expert + 'a>> {
        Ok(Box::new(DomainSpecific {
            extractor: networks
                .extractor
                .context("an expert needs the extractor")?,
            similarity: self.similarity,
            weight: self.weight,
            shared: networks.source_features,
        }))
    }
}
