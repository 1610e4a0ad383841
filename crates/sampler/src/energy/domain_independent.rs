//! The faithful expert: stay near the low-passed source (`-lambda_i S_i`).

use super::{Expert, Similarity, State, Weight, similarity};
use crate::low_pass::LowPass;
use egsde_models::gradient::gradient_of;
use tch::Tensor;

/// Energy `-weight * S(Phi(y), Phi(xt))`.
pub struct DomainIndependent<'a> {
    pub low_pass: &'a LowPass,
    pub similarity: Similarity,
    /// lambda_i.
    pub weight: Weight,
}

impl Expert for DomainIndependent<'_> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn gradient(&self, state: &State) -> Tensor {
        match self.similarity {
            // Phi is linear, so this gradient has a closed form: 2 Phi^T Phi (y - xt).
            Similarity::NegL2 => {
                let difference = self.low_pass.filter(&(state.y - state.xt));
                self.low_pass.transposed(&difference) * 2.0
            }
            Similarity::Cosine => {
                let source = self.low_pass.filter(state.xt);
                let s = |y: &Tensor| similarity(self.similarity, &self.low_pass.filter(y), &source);
                -gradient_of(state.y, s)
            }
        }
    }

    fn evaluations(&self) -> (usize, usize) {
        (0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::low_pass::Kernel;
    use tch::{Device, Kind};

    #[test]
    fn the_closed_form_is_the_gradient() {
        tch::manual_seed(2);
        let low_pass = LowPass::new(16, 4, Kernel::Linear, Device::Cpu).unwrap();
        let draw = || Tensor::randn([2, 3, 16, 16], (Kind::Float, Device::Cpu));
        let (y, xt, t) = (
            draw(),
            draw(),
            Tensor::zeros([2], (Kind::Float, Device::Cpu)),
        );
        let expert = DomainIndependent {
            low_pass: &low_pass,
            similarity: Similarity::NegL2,
            weight: Weight::Constant(2.0),
        };
        let got = expert.gradient(&State {
            y: &y,
            xt: &xt,
            t: &t,
            share: 0.0,
        });
        let energy = |y: &Tensor| {
            similarity(
                Similarity::NegL2,
                &low_pass.filter(y),
                &low_pass.filter(&xt),
            ) * -1.0
        };
        let want = gradient_of(&y, energy);
        assert!(
            (got - &want).abs().max().double_value(&[]) < 1e-4 * want.abs().max().double_value(&[])
        );
    }
}
