//! Convolutions of pictures. Frozen ones take this project's Winograd kernel where it serves.

use super::norm::BatchNorm;
use super::{channels_last, default_init};
use crate::cpu::winograd::Filter;
use crate::cpu::{self, bf16};
use std::cell::OnceCell;
use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

/// 2-d convolution, weight `[out, in, k, k]`, "same" padding unless stated.
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: [i64; 2],
    /// The weight of a frozen layer for Winograd convolution, and for its gradient; made when first asked for.
    filter: OnceCell<Option<Filter>>,
    adjoint: OnceCell<Option<Filter>>,
}

/// What differs from the plain "same" convolution with bias.
#[derive(Debug, Clone, Copy)]
pub struct ConvOptions {
    pub kernel: i64,
    pub stride: i64,
    pub padding: i64,
    pub bias: bool,
    /// Start at zero, as the reference does with the last layer of each residual branch.
    pub zero: bool,
}

impl ConvOptions {
    /// Stride 1, padding that keeps the size, with bias.
    pub fn same(kernel: i64) -> Self {
        Self {
            kernel,
            stride: 1,
            padding: kernel / 2,
            bias: true,
            zero: false,
        }
    }
    /// The same, weights starting at zero.
    pub fn zero(self) -> Self {
        Self { zero: true, ..self }
    }
    /// The same, without bias (in front of a batch normalisation).
    pub fn no_bias(self) -> Self {
        Self {
            bias: false,
            ..self
        }
    }
}

impl Conv2d {
    /// Registers `weight` and `bias` under `path`.
    pub fn new(path: Path, inputs: i64, outputs: i64, options: ConvOptions) -> Self {
        Self::rectangular(
            path,
            inputs,
            outputs,
            [options.kernel; 2],
            [options.padding; 2],
            options,
        )
    }

    /// The same with a kernel and padding of their own height and width; those of `options` are not looked at.
    pub fn rectangular(
        path: Path,
        inputs: i64,
        outputs: i64,
        kernel: [i64; 2],
        padding: [i64; 2],
        options: ConvOptions,
    ) -> Self {
        let fan_in = inputs * kernel[0] * kernel[1];
        let init = if options.zero {
            Init::Const(0.0)
        } else {
            default_init(fan_in)
        };
        let weight = path.var("weight", &[outputs, inputs, kernel[0], kernel[1]], init);
        let bias = options.bias.then(|| {
            let init = if options.zero {
                Init::Const(0.0)
            } else {
                default_init(fan_in)
            };
            path.var("bias", &[outputs], init)
        });
        let (filter, adjoint) = Default::default();
        Self {
            weight,
            bias,
            stride: options.stride,
            padding,
            filter,
            adjoint,
        }
    }

    /// Whether Winograd convolution may serve.
    fn own_kernels(&self, x: &Tensor) -> bool {
        let [height, width] = self.padding;
        self.stride == 1
            && height == width
            && height <= 1
            && self.is_frozen()
            && cpu::takes(x)
            && x.size()[2..].iter().all(|s| *s > 2)
    }

    fn winograd(&self, x: &Tensor) -> Option<&Filter> {
        if self.own_kernels(x) {
            self.filter
                .get_or_init(|| Filter::new(&self.weight))
                .as_ref()
        } else {
            None
        }
    }

    /// Whether the weight is one that no training changes.
    pub fn is_frozen(&self) -> bool {
        !self.weight.requires_grad()
    }

    /// `[n, in, h, w]` to `[n, out, h', w']`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::instead(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        match self.winograd(x) {
            Some(filter) => filter.convolve(x, self.padding[0] as usize, self.bias.as_ref(), None),
            None => self.direct(x),
        }
    }

    /// The same plus `add` of the output's shape.
    pub fn forward_onto(&self, x: &Tensor, add: &Tensor) -> Tensor {
        if let Some(out) = bf16::instead(&self.weight, x, |x| {
            self.forward_onto(x, &add.to_kind(Kind::Float))
        }) {
            return out;
        }
        match self.winograd(x) {
            Some(filter) => {
                filter.convolve(x, self.padding[0] as usize, self.bias.as_ref(), Some(add))
            }
            None => add + self.direct(x),
        }
    }

    fn direct(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        let bias = self.bias.as_ref().map(|b| b.to_kind(kind));
        x.conv2d(
            &self.weight.to_kind(kind),
            bias,
            [self.stride; 2],
            self.padding,
            [1, 1],
            1,
        )
    }

    /// The gradient of an input from that of its output; `stride` must be 1.
    pub fn backward(&self, gradient: &Tensor) -> Tensor {
        if let Some(out) = bf16::instead(&self.weight, gradient, |gradient| self.backward(gradient))
        {
            return out;
        }
        let adjoint = || {
            self.adjoint
                .get_or_init(|| Filter::adjoint(&self.weight))
                .as_ref()
        };
        match if self.padding == [1, 1] && self.own_kernels(gradient) {
            adjoint()
        } else {
            None
        } {
            Some(filter) => filter.convolve(gradient, 1, None, None),
            None => gradient.conv_transpose2d(
                &self.weight,
                None::<Tensor>,
                [1, 1],
                self.padding,
                [0, 0],
                1,
                [1, 1],
            ),
        }
    }

    /// The same convolution with each output times `factor` plus `term`, both `[out]`.
    pub fn scaled(&self, factor: &Tensor, term: &Tensor) -> Self {
        let weight = channels_last(&(&self.weight * factor.reshape([-1, 1, 1, 1])));
        let bias = self
            .bias
            .as_ref()
            .map_or_else(|| term.shallow_clone(), |b| b * factor + term);
        let (filter, adjoint) = Default::default();
        Self {
            weight,
            bias: Some(bias),
            stride: self.stride,
            padding: self.padding,
            filter,
            adjoint,
        }
    }
}

/// Convolution without bias, then batch normalisation.
#[derive(Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    bn: BatchNorm,
    /// Both as one convolution, of a frozen layer in float32; made when first asked for.
    folded: OnceCell<Conv2d>,
}

impl ConvNorm {
    /// Of its two parts.
    pub fn new(conv: Conv2d, bn: BatchNorm) -> Self {
        Self {
            conv,
            bn,
            folded: OnceCell::new(),
        }
    }

    /// `[n, in, h, w]` to `[n, out, h', w']`; normalises by the batch when `train`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        if train || !self.conv.is_frozen() || x.kind() != Kind::Float {
            return self.bn.forward(&self.conv.forward(x), train);
        }
        let fold = || {
            let (factor, term) = self.bn.line();
            self.conv.scaled(&factor, &term)
        };
        self.folded.get_or_init(|| tch::no_grad(fold)).forward(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, nn};

    #[test]
    fn bf16_through_float32_is_libtorchs_bf16() {
        tch::manual_seed(1);
        let mut vs = nn::VarStore::new(Device::Cpu);
        let conv = Conv2d::new(vs.root(), 16, 24, ConvOptions::same(3));
        vs.variables()
            .into_values()
            .for_each(|mut w| w.set_data(&w.to_kind(Kind::BFloat16).to_kind(Kind::Float)));
        vs.freeze();
        let x = Tensor::randn([2, 16, 9, 9], (Kind::BFloat16, Device::Cpu));
        let (got, want) = (conv.forward(&x), conv.direct(&x));
        assert_eq!((got.kind(), want.kind()), (Kind::BFloat16, Kind::BFloat16));
        let (got, want) = (got.to_kind(Kind::Float), want.to_kind(Kind::Float));
        let error = cpu::testing::error(&got, &want);
        // Sums in another order may round to the neighbouring bf16 number, 2^-8 away.
        assert!(error <= 1.0 / 256.0, "{error}");
        let moved = got
            .ne_tensor(&want)
            .to_kind(Kind::Float)
            .mean(Kind::Float)
            .double_value(&[]);
        assert!(moved < 0.01, "{moved} of the numbers differ");
    }
}
