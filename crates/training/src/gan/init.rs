//! How the authors' networks start: small normal weights, biases of zero.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Tensor;
use tch::nn::VarStore;

/// The spread of the starting weights (`init_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InitType {
    /// Glorot & Bengio's, times the gain (CUT).
    Xavier,
    /// The gain itself (CycleGAN).
    Normal,
}

/// `init_gain` of both repositories.
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

    /// Sets all variables, in the order of their names, from libtorch's generator.
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
