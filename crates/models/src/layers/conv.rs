//! Convolutions of images. Frozen ones take this project's Winograd kernel where it covers them.

use super::norm::BatchNorm;
use super::{Mode, channels_last, default_init};
use crate::kernels::winograd::Filter;
use crate::kernels::{bf16, kernels_cover_input};
use crate::{cuda, tf32};
use std::cell::OnceCell;
use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

/// 2-d convolution, weight `[out, in, height, width]`.
#[derive(Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: [i64; 2],
    /// The transformed weight of a frozen layer, and that of its gradient; made on first use.
    filter: OnceCell<Option<Filter>>,
    adjoint: OnceCell<Option<Filter>>,
}

/// Shape, bias and start of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct ConvOptions {
    /// Height and width of the kernel in pixels.
    pub kernel: [i64; 2],
    /// Pixels from one output to the next, in both directions.
    pub stride: i64,
    /// Zero pixels added above and below, and left and right.
    pub padding: [i64; 2],
    /// Whether there is a bias.
    pub bias: bool,
    /// Whether weight and bias start at zero, as guided-diffusion does with the last layer of
    /// each residual branch.
    pub zero: bool,
}

impl ConvOptions {
    /// A square kernel of odd side with stride 1, padding that keeps the size, and a bias.
    pub fn same(side: i64) -> Self {
        Self {
            kernel: [side; 2],
            stride: 1,
            padding: [side / 2; 2],
            bias: true,
            zero: false,
        }
    }

    /// The same, weight and bias starting at zero.
    pub fn zero(self) -> Self {
        Self { zero: true, ..self }
    }

    /// These options without padding.
    pub fn no_padding(self) -> Self {
        Self {
            padding: [0; 2],
            ..self
        }
    }

    /// The same without a bias, for use in front of a batch normalisation.
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
        let [height, width] = options.kernel;
        let fan_in = inputs * height * width;
        let init = if options.zero {
            Init::Const(0.0)
        } else {
            default_init(fan_in)
        };
        let weight = path.var("weight", &[outputs, inputs, height, width], init);
        let bias = options.bias.then(|| path.var("bias", &[outputs], init));
        Self::from_parts(weight, bias, options.stride, options.padding)
    }

    fn from_parts(weight: Tensor, bias: Option<Tensor>, stride: i64, padding: [i64; 2]) -> Self {
        let (filter, adjoint) = (OnceCell::new(), OnceCell::new());
        Self {
            weight,
            bias,
            stride,
            padding,
            filter,
            adjoint,
        }
    }

    /// Whether training can no longer change the weight.
    pub fn is_frozen(&self) -> bool {
        !self.weight.requires_grad()
    }

    /// Whether the Winograd kernel can convolve `x`, as far as stride, padding and `x` decide it.
    fn kernel_covers(&self, x: &Tensor) -> bool {
        let [height, width] = self.padding;
        self.stride == 1
            && height == width
            && height <= 1
            && self.is_frozen()
            && kernels_cover_input(x)
            && x.size()[2..].iter().all(|side| *side > 2)
    }

    /// The transformed weight, where the Winograd kernel serves `x`.
    fn winograd_filter(&self, x: &Tensor) -> Option<&Filter> {
        if !self.kernel_covers(x) {
            return None;
        }
        self.filter
            .get_or_init(|| Filter::from_weight(&self.weight))
            .as_ref()
    }

    /// The transformed weight of the gradient, where the Winograd kernel serves `gradient`.
    fn winograd_adjoint(&self, gradient: &Tensor) -> Option<&Filter> {
        if self.padding != [1, 1] || !self.kernel_covers(gradient) {
            return None;
        }
        self.adjoint
            .get_or_init(|| Filter::from_adjoint(&self.weight))
            .as_ref()
    }

    /// `[n, in, h, w]` to `[n, out, h', w']`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::emulate(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        match self.winograd_filter(x) {
            Some(filter) => filter.convolve(x, self.padding[0] as usize, self.bias.as_ref(), None),
            None => self.direct(x, self.bias.as_ref()),
        }
    }

    /// libtorch's convolution of `x` `[n, in, h, w]` without the bias, and the bias `[out]`, which
    /// the caller must add. `None` where the layer has no bias or is trained.
    pub fn forward_without_bias(&self, x: &Tensor) -> Option<(Tensor, &Tensor)> {
        let bias = self.bias.as_ref().filter(|_| self.is_frozen())?;
        Some((self.direct(x, None), bias))
    }

    /// [`Conv2d::forward`] plus `residual`, which has the output's shape.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Tensor {
        let emulated = bf16::emulate(&self.weight, x, |x| {
            self.forward_add(x, &residual.to_kind(Kind::Float))
        });
        if let Some(out) = emulated {
            return out;
        }
        match self.winograd_filter(x) {
            Some(filter) => filter.convolve(
                x,
                self.padding[0] as usize,
                self.bias.as_ref(),
                Some(residual),
            ),
            None => residual + self.direct(x, self.bias.as_ref()),
        }
    }

    /// libtorch's convolution, with the bias or without.
    fn direct(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        if tf32::convolution_must_be_told(x) {
            return self.in_full_float32(x, bias);
        }
        let kind = x.kind();
        let bias = bias.map(|b| b.to_kind(kind));
        x.conv2d(
            &self.weight.to_kind(kind),
            bias,
            [self.stride; 2],
            self.padding,
            [1, 1],
            1,
        )
    }

    /// cuDNN's convolution of `x` in float32, told not to take TF32.
    fn in_full_float32(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let (dilation, groups) = ([1, 1], 1);
        let (benchmark, allow_tf32) = (false, false);
        let out = x.cudnn_convolution(
            &self.weight,
            self.padding,
            [self.stride; 2],
            dilation,
            groups,
            benchmark,
            cuda::is_deterministic(),
            allow_tf32,
        );
        match bias {
            Some(bias) => out + bias.reshape([1, -1, 1, 1]),
            None => out,
        }
    }

    /// The gradient with respect to the input `[n, in, h, w]`, given that with respect to the
    /// output `[n, out, h', w']`. The stride must be 1.
    pub fn backward(&self, gradient: &Tensor) -> Tensor {
        if let Some(out) = bf16::emulate(&self.weight, gradient, |g| self.backward(g)) {
            return out;
        }
        if let Some(adjoint) = self.winograd_adjoint(gradient) {
            return adjoint.convolve(gradient, 1, None, None);
        }
        let (no_bias, unit) = (None::<Tensor>, [1, 1]);
        let weight = self.weight.to_kind(gradient.kind());
        gradient.conv_transpose2d(&weight, no_bias, unit, self.padding, [0, 0], 1, unit)
    }

    /// The same convolution with each output channel times `factor` plus `offset`, both `[out]`.
    pub fn rescaled(&self, factor: &Tensor, offset: &Tensor) -> Self {
        let weight = channels_last(&(&self.weight * factor.reshape([-1, 1, 1, 1])));
        let bias = match &self.bias {
            Some(bias) => bias * factor + offset,
            None => offset.shallow_clone(),
        };
        Self::from_parts(weight, Some(bias), self.stride, self.padding)
    }
}

/// 2-d transposed convolution that doubles the sides: kernel 3, stride 2, padding 1, output padding
/// 1; weight `[in, out, 3, 3]`.
#[derive(Debug)]
pub struct ConvTranspose2d {
    weight: Tensor,
    bias: Tensor,
}

impl ConvTranspose2d {
    /// Registers `weight` and `bias` under `path`, with PyTorch's default start.
    pub fn new(path: Path, inputs: i64, outputs: i64) -> Self {
        // PyTorch counts the second dimension of the weight as its inputs.
        let init = default_init(outputs * 9);
        Self {
            weight: path.var("weight", &[inputs, outputs, 3, 3], init),
            bias: path.var("bias", &[outputs], init),
        }
    }

    /// `[n, in, h, w]` to `[n, out, 2 h, 2 w]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::emulate(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        let kind = x.kind();
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        x.conv_transpose2d(&weight, Some(bias), [2, 2], [1, 1], [1, 1], 1, [1, 1])
    }
}

/// A convolution followed by batch normalisation.
#[derive(Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
    /// Both as one convolution, for a frozen layer in float32; made on first use.
    folded: OnceCell<Conv2d>,
}

impl ConvNorm {
    /// Joins the two; the convolution as a rule has no bias.
    pub fn new(conv: Conv2d, norm: BatchNorm) -> Self {
        Self {
            conv,
            norm,
            folded: OnceCell::new(),
        }
    }

    /// `[n, in, h, w]` to `[n, out, h', w']`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        if mode == Mode::Train || !self.conv.is_frozen() || x.kind() != Kind::Float {
            return self.norm.forward(&self.conv.forward(x), mode);
        }
        self.folded
            .get_or_init(|| tch::no_grad(|| self.fold()))
            .forward(x)
    }

    /// The convolution with the running statistics folded into its weight and bias.
    fn fold(&self) -> Conv2d {
        let (factor, offset) = self.norm.factor_and_offset();
        self.conv.rescaled(&factor, &offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::relative_error;
    use tch::{Device, nn};

    #[test]
    fn bf16_through_float32_is_libtorchs_bf16() {
        tch::manual_seed(1);
        let mut vs = nn::VarStore::new(Device::Cpu);
        let conv = Conv2d::new(vs.root(), 16, 24, ConvOptions::same(3));
        for weight in vs.variables().values_mut() {
            weight.set_data(&weight.to_kind(Kind::BFloat16).to_kind(Kind::Float));
        }
        vs.freeze();
        let x = Tensor::randn([2, 16, 9, 9], (Kind::BFloat16, Device::Cpu));
        let (got, want) = (conv.forward(&x), conv.direct(&x, conv.bias.as_ref()));
        assert_eq!((got.kind(), want.kind()), (Kind::BFloat16, Kind::BFloat16));
        let (got, want) = (got.to_kind(Kind::Float), want.to_kind(Kind::Float));
        let error = relative_error(&got, &want);
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
