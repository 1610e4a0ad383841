//! What a translation costs in network evaluations. The numbers follow from a row's settings alone,
//! so a plan knows them before any network is opened.

use crate::energy::Weight;
use crate::schedule::{NUM_TRAIN_TIMESTEPS, space_timesteps, t_frac};

/// Extractor evaluations that one expert needs per image and step at which its weight is not 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpertCost {
    /// Evaluations without gradient.
    pub forward: usize,
    /// Evaluations forward and backward.
    pub gradient: usize,
}

/// Network evaluations per image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evaluations {
    /// Evaluations of the diffusion network.
    pub diffusion: usize,
    /// Evaluations of the generator of a method without time steps. What makes its styles and masks
    /// (StarGAN v2's mapping network, style encoder and landmark network) counts as a part of it.
    pub generator: usize,
    /// Evaluations of the extractor without gradient.
    pub extractor: usize,
    /// Evaluations of the extractor forward and backward.
    pub extractor_gradient: usize,
}

impl Evaluations {
    /// Cost of [`Egsde`](crate::method::Egsde): `steps` respaced steps of the whole of T, of which
    /// the last `start_steps` are taken, `repeats` times (K). Without experts this is SDEdit's
    /// cost.
    ///
    /// An expert costs nothing at the steps where its weight is 0. Settings that no schedule allows
    /// (`steps` outside 1 to [`NUM_TRAIN_TIMESTEPS`]) count no expert.
    pub fn for_sde(
        steps: usize,
        start_steps: usize,
        repeats: usize,
        experts: &[(Weight, ExpertCost)],
    ) -> Self {
        let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, steps).unwrap_or_default();
        let taken = &timesteps[..start_steps.min(timesteps.len())];
        let mut total = Self {
            diffusion: start_steps * repeats,
            ..Self::default()
        };
        for (weight, cost) in experts {
            let active = taken
                .iter()
                .filter(|t| weight.at(t_frac(**t as f64)) != 0.0)
                .count();
            total.extractor += active * repeats * cost.forward;
            total.extractor_gradient += active * repeats * cost.gradient;
        }
        total
    }

    /// Cost of a GAN: its generator translates in one evaluation.
    pub fn for_generator() -> Self {
        Self {
            generator: 1,
            ..Self::default()
        }
    }

    /// Evaluations of the network that makes the image: steps of the diffusion network, or one of a
    /// generator. This is what tables show as the cost of a row.
    pub fn of_translator(&self) -> usize {
        self.diffusion + self.generator
    }

    /// Cost of [`Ilvr`](crate::method::Ilvr) with `steps` respaced steps: all of them, and no
    /// extractor.
    pub fn for_ilvr(steps: usize) -> Self {
        Self {
            diffusion: steps,
            ..Self::default()
        }
    }
}
