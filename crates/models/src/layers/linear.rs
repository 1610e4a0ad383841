//! Products with a weight matrix.

use super::default_init;
use crate::cpu::bf16;
use tch::Tensor;
use tch::nn::{Init, Path};

/// Pointwise 1-d convolution, weight `[out, in, 1]` (the attention blocks' projections).
#[derive(Debug)]
pub struct Pointwise {
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    /// Registers `weight` and `bias` under `path`; `zero` starts both at zero.
    pub fn new(path: Path, inputs: i64, outputs: i64, zero: bool) -> Self {
        let init = if zero {
            Init::Const(0.0)
        } else {
            default_init(inputs)
        };
        Self {
            weight: path.var("weight", &[outputs, inputs, 1], init),
            bias: path.var("bias", &[outputs], init),
        }
    }

    /// `[n, in, length]` to `[n, out, length]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::instead(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        let kind = x.kind();
        self.weight.to_kind(kind).squeeze_dim(-1).matmul(x) + self.bias.to_kind(kind).unsqueeze(-1)
    }

    /// `[n, length, in]` to `[n, length, out]`.
    pub fn of_tokens(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::instead(&self.weight, x, |x| self.of_tokens(x)) {
            return out;
        }
        let kind = x.kind();
        x.linear(
            &self.weight.to_kind(kind).squeeze_dim(-1),
            Some(self.bias.to_kind(kind)),
        )
    }
}

/// Fully connected layer, weight `[out, in]`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Registers `weight` and `bias` under `path`.
    pub fn new(path: Path, inputs: i64, outputs: i64) -> Self {
        let init = default_init(inputs);
        Self {
            weight: path.var("weight", &[outputs, inputs], init),
            bias: path.var("bias", &[outputs], init),
        }
    }

    /// `[n, in]` to `[n, out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::instead(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind), Some(self.bias.to_kind(kind)))
    }
}
