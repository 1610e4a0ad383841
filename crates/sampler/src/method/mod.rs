//! Translation methods, one file each, behind one trait.

mod egsde;
mod ilvr;
mod solver;
mod untranslated;

pub use egsde::{Egsde, STEPS_OF_T, SourceNoise};
pub use ilvr::{Ilvr, IlvrVariance};
pub use solver::Solver;
pub use untranslated::Untranslated;

use crate::noise::Noise;
use anyhow::Result;
use egsde_models::{AdmUnet, DdpmUnet, Loaded};
use tch::{Kind, Tensor};

/// Calls the diffusion network: pictures `[n, 3, s, s]`, time index -> raw output `[n, 3 or 6, s, s]`.
pub trait Predictor {
    /// Raw output at one time index for the whole batch.
    fn predict(&self, y: &Tensor, t: f64) -> Tensor;
}

impl Predictor for Loaded<AdmUnet> {
    fn predict(&self, y: &Tensor, t: f64) -> Tensor {
        self.output(y, &times(y, t))
    }
}

impl Predictor for Loaded<DdpmUnet> {
    fn predict(&self, y: &Tensor, t: f64) -> Tensor {
        self.output(y, &times(y, t))
    }
}

/// The time index once for each picture, `[n]`.
pub(crate) fn times(y: &Tensor, t: f64) -> Tensor {
    Tensor::full([y.size()[0]], t, (Kind::Float, y.device()))
}

/// The predicted noise: the first three channels, whether or not sigma was learned.
pub(crate) fn eps(output: &Tensor) -> Tensor {
    output.narrow(1, 0, 3)
}

/// Network evaluations for one picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evaluations {
    /// Of the diffusion network.
    pub diffusion: usize,
    /// Of the extractor, without gradient.
    pub extractor: usize,
    /// Of the extractor, forward and backward.
    pub extractor_gradient: usize,
}

/// What a newcomer implements to put a method into the tables.
pub trait Method {
    /// Source pictures `x0` `[n, 3, s, s]` in [-1, 1] to translated pictures `[n, 3, s, s]` in [0, 1].
    /// All randomness comes from `noise`; `observe` is called with (repeat, step, y) after each step.
    fn translate(
        &self,
        x0: &Tensor,
        noise: &dyn Noise,
        observe: &mut dyn FnMut(usize, usize, &Tensor),
    ) -> Result<Tensor>;

    /// What one picture costs.
    fn evaluations(&self) -> Evaluations;
}

/// [-1, 1] to [0, 1], clamped.
pub(crate) fn to_picture(y: &Tensor) -> Tensor {
    ((y + 1.0) / 2.0).clamp(0.0, 1.0)
}
