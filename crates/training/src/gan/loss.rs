//! What a discriminator's outputs cost.

use egsde_models::{Loaded, Patchgan};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// What the discriminator should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The image is one of the domain's.
    Real,
    /// The image is a translation.
    Fake,
}

/// The adversarial loss, named as in both repositories' options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GanMode {
    /// Least squares to 1 or 0 (Mao et al. 2017).
    #[default]
    Lsgan,
    /// Binary cross-entropy on logits (Goodfellow et al. 2014).
    Vanilla,
    /// Softplus of minus or plus the logit.
    Nonsaturating,
    /// The logit itself, with a minus for real images (Gulrajani et al. 2017).
    Wgangp,
}

impl GanMode {
    /// The loss of each number of `prediction`, in its shape.
    pub fn losses(self, prediction: &Tensor, target: Target) -> Tensor {
        let signed = || match target {
            Target::Real => -prediction,
            Target::Fake => prediction.shallow_clone(),
        };
        match (self, target) {
            (Self::Lsgan, Target::Real) => (prediction - 1.0).square(),
            (Self::Lsgan, Target::Fake) => prediction.square(),
            // The binary cross-entropy of a logit p is softplus(-p) or softplus(p).
            (Self::Vanilla | Self::Nonsaturating, _) => signed().softplus(),
            (Self::Wgangp, _) => signed(),
        }
    }

    /// Their mean, without dimensions.
    pub fn loss(self, prediction: &Tensor, target: Target) -> Tensor {
        self.losses(prediction, target).mean(Kind::Float)
    }

    /// The mean losses of a discriminator on two sets of images `[n, 3, h, w]`, which it sees in
    /// one batch in this order.
    pub(super) fn losses_of_sets(
        self,
        discriminator: &Loaded<Patchgan>,
        sets: [(&Tensor, Target); 2],
    ) -> [Tensor; 2] {
        let [(first, first_target), (second, second_target)] = sets;
        let both = Tensor::cat(&[first, second], 0);
        let halves = discriminator.net.forward(&both, discriminator.kind);
        let halves = halves.chunk(2, 0);
        [
            self.loss(&halves[0], first_target),
            self.loss(&halves[1], second_target),
        ]
    }

    /// What it costs that a discriminator does not take translations `[n, 3, h, w]` for real.
    pub(super) fn fooling_loss(self, discriminator: &Loaded<Patchgan>, fake: &Tensor) -> Tensor {
        let prediction = discriminator.net.forward(fake, discriminator.kind);
        self.loss(&prediction, Target::Real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_falls_towards_its_target() {
        let prediction = Tensor::from_slice(&[-2f32, 3.0]);
        for mode in [GanMode::Vanilla, GanMode::Nonsaturating, GanMode::Wgangp] {
            for (target, better) in [(Target::Real, 1), (Target::Fake, 0)] {
                let losses = Vec::<f32>::try_from(mode.losses(&prediction, target)).unwrap();
                assert!(losses[better] < losses[1 - better], "{mode:?} {target:?}");
            }
        }
        let real = GanMode::Lsgan.loss(&prediction, Target::Real);
        assert_eq!(real.double_value(&[]), (9.0 + 4.0) / 2.0);
        let fake = GanMode::Lsgan.loss(&prediction, Target::Fake);
        assert_eq!(fake.double_value(&[]), (4.0 + 9.0) / 2.0);
    }
}
