//! The faithful expert: stay near the low-passed source (`-lambda_i S_i`).

use super::{Expert, ExpertSettings, Similarity, State, Weight, similarity};
use crate::cost::ExpertCost;
use crate::low_pass::{Kernel, LowPass};
use crate::settings::{Networks, TaskFacts};
use anyhow::{Context, Result};
use egsde_models::gradient::gradient_of;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Keys of the expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainIndependentConfig {
    /// Its weight.
    pub weight: Weight,
    /// S; minus the squared distance when left out.
    #[serde(default = "default_similarity")]
    pub similarity: Similarity,
    /// The row's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_pass_factor: Option<usize>,
}

fn default_similarity() -> Similarity {
    Similarity::NegL2
}

/// Energy `-weight * S(Phi(y), Phi(xt))`.
pub struct DomainIndependent {
    /// Phi.
    pub low_pass: LowPass,
    /// S.
    pub similarity: Similarity,
    /// lambda_i.
    pub weight: Weight,
}

impl DomainIndependent {
    /// It needs no network.
    pub const COST: ExpertCost = ExpertCost {
        forward: 0,
        gradient: 0,
    };
}

impl Expert for DomainIndependent {
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
                let filtered = self.low_pass.filter(state.y);
                let gradient = gradient_of(&filtered, |filtered| {
                    similarity(self.similarity, filtered, &source)
                });
                // Phi's own part is not left to libtorch's graph, whose backward pass might take
                // TF32 on a GPU. Transposing before and after keeps the graph's order of products.
                let turned = gradient.transpose(-1, -2);
                -self.low_pass.transposed(&turned).transpose(-1, -2)
            }
        }
    }
}

impl ExpertSettings for DomainIndependentConfig {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn cost(&self) -> ExpertCost {
        DomainIndependent::COST
    }

    fn settle(&self, low_pass_factor: usize, task: &TaskFacts) -> Result<Self> {
        let factor = self.low_pass_factor.unwrap_or(low_pass_factor);
        task.check_low_pass_factor(factor)?;
        Ok(Self {
            low_pass_factor: Some(factor),
            ..self.clone()
        })
    }

    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Expert + 'a>> {
        let factor = self
            .low_pass_factor
            .context("a settled expert has its low_pass_factor")?;
        Ok(Box::new(DomainIndependent {
            low_pass: LowPass::new(networks.image_size, factor, Kernel::Linear, networks.device)?,
            similarity: self.similarity,
            weight: self.weight,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn either_similarity_has_the_gradient_of_its_energy() {
        tch::manual_seed(2);
        let options = (Kind::Float, Device::Cpu);
        let y = Tensor::randn([2, 3, 16, 16], options);
        let xt = Tensor::randn([2, 3, 16, 16], options);
        let t = Tensor::zeros([2], options);
        for kind in [Similarity::NegL2, Similarity::Cosine] {
            let expert = DomainIndependent {
                low_pass: LowPass::new(16, 4, Kernel::Linear, Device::Cpu).unwrap(),
                similarity: kind,
                weight: Weight::Constant(2.0),
            };
            let got = expert.gradient(&State {
                y: &y,
                xt: &xt,
                t: &t,
                t_frac: 0.0,
                source_key: None,
            });
            let source = expert.low_pass.filter(&xt);
            let want = -gradient_of(&y, |y| {
                similarity(kind, &expert.low_pass.filter(y), &source)
            });
            let error = (got - &want).abs().max().double_value(&[]);
            let tolerance = 1e-4 * want.abs().max().double_value(&[]);
            assert!(error < tolerance, "{kind:?}: {error} of {tolerance}");
        }
    }
}
