//! How the authors' networks start: small normal weights, biases of zero.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Tensor;
use tch::nn::VarStore;

/// Standard deviation of the starting weights (`init_type` of the authors' code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InitType {
    /// `GAIN * sqrt(2 / (fan_in + fan_out))` (Glorot & Bengio 2010), as CUT has it.
    Xavier,
    /// `GAIN`, as CycleGAN has it.
    Normal,
}

/// `init_gain` in the published code of CUT and CycleGAN.
const GAIN: f64 = 0.02;

impl InitType {
    /// Standard deviation of a weight `[out, in, ...]`.
    fn std(self, weight: &Tensor) -> f64 {
        match self {
            Self::Normal => GAIN,
            Self::Xavier => {
                let size = weight.size();
                let kernel: i64 = size[2..].iter().product();
                let fans = (size[0] + size[1]) * kernel;
                GAIN * (2.0 / fans as f64).sqrt()
            }
        }
    }

    /// Draws weights (two or more dimensions) from a normal distribution of mean 0, in the order of
    /// their names, by libtorch's random numbers, and sets all other variables to 0. No layer may
    /// have the weight of an affine normalisation, which would become 0 too.
    pub fn initialise(self, vs: &VarStore) {
        let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
        tch::no_grad(|| {
            for mut variable in variables.into_values() {
                let _ = match variable.dim() {
                    0 | 1 => variable.zero_(),
                    _ => variable.normal_(0.0, self.std(&variable)),
                };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn weights_have_the_spread_of_their_type_and_biases_are_zero() {
        tch::manual_seed(1);
        let vs = VarStore::new(Device::Cpu);
        let weight = vs.root().zeros("weight", &[96, 32, 3, 3]);
        let bias = vs.root().ones("bias", &[96]);
        for (init, want) in [
            (InitType::Normal, 0.02),
            (InitType::Xavier, 0.02 * (2.0f64 / (128.0 * 9.0)).sqrt()),
        ] {
            init.initialise(&vs);
            // Of 27,648 draws, the deviation has a standard error of 0.4 %.
            let std = weight.std(true).double_value(&[]);
            assert!((std / want - 1.0).abs() < 0.025, "{std} for {want}");
            assert_eq!(bias.abs().sum(Kind::Float).double_value(&[]), 0.0);
        }
    }
}
