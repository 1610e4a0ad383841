//! Products with a weight matrix.

use super::default_init;
use crate::kernels::bf16;
use tch::Tensor;
use tch::nn::{Init, Path};

/// Pointwise 1-d convolution, weight `[out, in, 1]`: the projections of the attention blocks.
#[derive(Debug)]
pub struct Pointwise {
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    /// Registers `weight` and `bias` under `path`, with PyTorch's default start.
    pub fn new(path: Path, inputs: i64, outputs: i64) -> Self {
        Self::with_init(path, inputs, outputs, default_init(inputs))
    }

    /// As [`Pointwise::new`], with weight and bias starting at zero.
    pub fn zeroed(path: Path, inputs: i64, outputs: i64) -> Self {
        Self::with_init(path, inputs, outputs, Init::Const(0.0))
    }

    fn with_init(path: Path, inputs: i64, outputs: i64, init: Init) -> Self {
        let weight = path.var("weight", &[outputs, inputs, 1], init);
        let bias = path.var("bias", &[outputs], init);
        Self { weight, bias }
    }

    /// Channels in front: `[n, in, length]` to `[n, out, length]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::emulate(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        let kind = x.kind();
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        weight.squeeze_dim(-1).matmul(x) + bias.unsqueeze(-1)
    }

    /// Channels behind: `[n, length, in]` to `[n, length, out]`.
    pub fn forward_tokens(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::emulate(&self.weight, x, |x| self.forward_tokens(x)) {
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
    /// Registers `weight` and `bias` under `path`, with PyTorch's default start.
    pub fn new(path: Path, inputs: i64, outputs: i64) -> Self {
        let init = default_init(inputs);
        let weight = path.var("weight", &[outputs, inputs], init);
        let bias = path.var("bias", &[outputs], init);
        Self { weight, bias }
    }

    /// `[n, in]` to `[n, out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::emulate(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind), Some(self.bias.to_kind(kind)))
    }
}
