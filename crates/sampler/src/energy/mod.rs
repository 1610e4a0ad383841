//! Energies that guide the reverse SDE: a sum of experts, one file each.

mod class_probability;
mod domain_independent;
mod domain_specific;
mod source_features;
mod weight;

pub use class_probability::ClassProbability;
pub use domain_independent::DomainIndependent;
pub use domain_specific::DomainSpecific;
pub use source_features::SourceFeatures;
pub use weight::{Linear, Range, Weight};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// How alike the sample and the perturbed source are (paper, section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// Cosine over channels, mean over positions.
    Cosine,
    /// Minus the sum of squared differences.
    NegL2,
}

/// What an expert looks at, all at one step.
#[derive(Debug)]
pub struct State<'a> {
    /// The sample, `[n, 3, s, s]`.
    pub y: &'a Tensor,
    /// The source perturbed to the same time, `[n, 3, s, s]`.
    pub xt: &'a Tensor,
    /// Time indices for the networks, `[n]`.
    pub t: &'a Tensor,
    /// The same time as t / T, in [0, 1].
    pub share: f64,
}

/// One term of the energy.
pub trait Expert {
    /// How much it counts; where that is 0 its gradient is not asked for.
    fn weight(&self) -> Weight;
    /// Gradient of this expert's energy at weight 1 (sign included) with respect to `y`, the shape of `y`.
    fn gradient(&self, state: &State) -> Tensor;
    /// Network evaluations a picture and step where its weight is not 0: (without gradient, with gradient).
    fn evaluations(&self) -> (usize, usize);
}

/// Sum of experts; the energy of EGSDE is `lambda_s S_s - lambda_i S_i`.
#[derive(Default)]
pub struct Energy<'a>(pub Vec<Box<dyn Expert + 'a>>);

impl Energy<'_> {
    /// The gradient of the weighted sum, or nothing when no expert counts at this time.
    pub fn gradient(&self, state: &State) -> Option<Tensor> {
        let active = self
            .0
            .iter()
            .map(|e| (e, e.weight().at(state.share)))
            .filter(|(_, w)| *w != 0.0);
        active
            .map(|(expert, w)| expert.gradient(state) * w)
            .reduce(|sum, g| sum + g)
    }

    /// Whether any expert counts at t / T.
    pub fn is_active(&self, share: f64) -> bool {
        self.0.iter().any(|e| e.weight().at(share) != 0.0)
    }
}

/// `f` divided by its norm over channels (eps 1e-10, outside the root, as the reference has it).
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
            let dot = (normalised(a) * normalised(b)).sum_dim_intlist(
                [1i64].as_slice(),
                false,
                Kind::Float,
            );
            dot.mean_dim([1i64, 2].as_slice(), false, Kind::Float)
        }
        Similarity::NegL2 => {
            -(a - b)
                .square()
                .sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float)
        }
    }
}
