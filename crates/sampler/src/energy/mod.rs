//! Energies that guide the reverse SDE: a sum of experts, one file each.
//!
//! A new expert is a file and its line in `experts!` below. The file holds
//!
//! - the keys of the expert, a serde struct that implements [`ExpertSettings`];
//! - the expert itself with its sign, a struct that implements [`Expert`].
//!
//! The line declares the file and makes the rest: the variant of [`ExpertConfig`] and every
//! dispatch over the experts.

mod list;
mod settings;
mod source_features;
mod weight;

pub use settings::{ExpertSettings, build_energy, settle_experts};
pub use source_features::{SourceFeatures, SourceKey};
pub use weight::{Linear, Range, Weight};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

list::experts! {
    domain_specific::DomainSpecificConfig as DomainSpecific = "domain_specific";
    domain_independent::DomainIndependentConfig as DomainIndependent = "domain_independent";
    class_probability::ClassProbabilityConfig as ClassProbability = "class_probability";
}

/// How similar the sample and the perturbed source are (paper, section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// Cosine over channels, mean over positions.
    Cosine,
    /// Minus the sum of squared differences.
    NegL2,
}

/// The input of an expert at one step.
#[derive(Debug)]
pub struct State<'a> {
    /// The sample, `[n, 3, s, s]`.
    pub y: &'a Tensor,
    /// The source perturbed to the same time, `[n, 3, s, s]`.
    pub xt: &'a Tensor,
    /// Time indices for the networks, `[n]`, or `[1]` for all images (see
    /// [`time_indices`](egsde_models::networks::time_indices)).
    pub t: &'a Tensor,
    /// That time as t / T, in [0, 1).
    pub t_frac: f64,
    /// The key under which rows share the extractor's features of `xt`; `None` where `xt` has none
    /// (later repeats, noise without a key).
    pub source_key: Option<SourceKey>,
}

/// One term of the energy.
pub trait Expert {
    /// Its weight over time; where that is 0, its gradient is not computed.
    fn weight(&self) -> Weight;

    /// Gradient of this expert's energy at weight 1 (sign included) with respect to `state.y`, same
    /// shape.
    fn gradient(&self, state: &State) -> Tensor;
}

/// Weighted sum of experts; the energy of EGSDE is `lambda_s S_s - lambda_i S_i`.
#[derive(Default)]
pub struct Energy<'a>(pub Vec<Box<dyn Expert + 'a>>);

impl Energy<'_> {
    /// The gradient of the weighted sum with respect to `state.y`, same shape; none when every
    /// weight is 0 at this time.
    pub fn gradient(&self, state: &State) -> Option<Tensor> {
        let mut total: Option<Tensor> = None;
        for expert in &self.0 {
            let weight = expert.weight().at(state.t_frac);
            if weight == 0.0 {
                continue;
            }
            let gradient = expert.gradient(state) * weight;
            total = Some(match total {
                None => gradient,
                Some(sum) => sum + gradient,
            });
        }
        total
    }

    /// Whether any expert's weight is not 0 at t / T.
    pub fn is_active(&self, t_frac: f64) -> bool {
        self.0
            .iter()
            .any(|expert| expert.weight().at(t_frac) != 0.0)
    }
}

/// `f` `[n, c, h, w]` divided by its norm over channels plus 1e-10, as in EGSDE's code.
fn normalised(f: &Tensor) -> Tensor {
    let norm = f
        .square()
        .sum_dim_intlist([1i64].as_slice(), true, Kind::Float)
        .sqrt();
    f / (norm + 1e-10)
}

/// Similarity of two maps `[n, c, h, w]`: `[n]`.
pub fn similarity(kind: Similarity, a: &Tensor, b: &Tensor) -> Tensor {
    match kind {
        Similarity::Cosine => {
            let product = normalised(a) * normalised(b);
            let dot = product.sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
            dot.mean_dim([1i64, 2].as_slice(), false, Kind::Float)
        }
        Similarity::NegL2 => {
            let dims = [1i64, 2, 3];
            -(a - b)
                .square()
                .sum_dim_intlist(dims.as_slice(), false, Kind::Float)
        }
    }
}
