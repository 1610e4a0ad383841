//! The few layers all networks share. Weights stay in float32; each layer computes in its input's kind. Frozen layers take
//! this project's own kernels ([`crate::cpu`]) where those serve.

use crate::cpu;
use crate::cpu::norm::{Affine, Normed};
use crate::cpu::winograd::Filter;
use crate::gradient::Pullback;
use std::cell::OnceCell;
use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

/// PyTorch's default bound for convolution and linear weights: uniform in +-1/sqrt(fan_in).
fn default_init(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

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
        Self { kernel, stride: 1, padding: kernel / 2, bias: true, zero: false }
    }
    /// The same, weights starting at zero.
    pub fn zero(self) -> Self {
        Self { zero: true, ..self }
    }
    /// The same, without bias (in front of a batch normalisation).
    pub fn no_bias(self) -> Self {
        Self { bias: false, ..self }
    }
}

impl Conv2d {
    /// Registers `weight` and `bias` under `path`.
    pub fn new(path: Path, inputs: i64, outputs: i64, options: ConvOptions) -> Self {
        Self::rectangular(path, inputs, outputs, [options.kernel; 2], [options.padding; 2], options)
    }

    /// The same with a kernel and padding of their own height and width; those of `options` are not looked at.
    pub fn rectangular(path: Path, inputs: i64, outputs: i64, kernel: [i64; 2], padding: [i64; 2], options: ConvOptions) -> Self {
        let fan_in = inputs * kernel[0] * kernel[1];
        let init = if options.zero { Init::Const(0.0) } else { default_init(fan_in) };
        let weight = path.var("weight", &[outputs, inputs, kernel[0], kernel[1]], init);
        let bias = options.bias.then(|| {
            let init = if options.zero { Init::Const(0.0) } else { default_init(fan_in) };
            path.var("bias", &[outputs], init)
        });
        let (filter, adjoint) = Default::default();
        Self { weight, bias, stride: options.stride, padding, filter, adjoint }
    }

    /// Whether Winograd convolution may serve: frozen, size kept.
    fn keeps_size(&self, x: &Tensor) -> bool {
        self.stride == 1 && self.padding == [1, 1] && !self.weight.requires_grad() && cpu::takes(x)
    }

    fn winograd(&self, x: &Tensor) -> Option<&Filter> {
        if self.keeps_size(x) { self.filter.get_or_init(|| Filter::new(&self.weight)).as_ref() } else { None }
    }

    /// `[n, in, h, w]` to `[n, out, h', w']`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self.winograd(x) {
            Some(filter) => filter.convolve(x, self.bias.as_ref(), None),
            None => self.direct(x),
        }
    }

    /// The same plus `add` of the output's shape.
    pub fn forward_onto(&self, x: &Tensor, add: &Tensor) -> Tensor {
        match self.winograd(x) {
            Some(filter) => filter.convolve(x, self.bias.as_ref(), Some(add)),
            None => add + self.direct(x),
        }
    }

    fn direct(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        let bias = self.bias.as_ref().map(|b| b.to_kind(kind));
        x.conv2d(&self.weight.to_kind(kind), bias, [self.stride; 2], self.padding, [1, 1], 1)
    }

    /// The gradient of an input from that of its output; `stride` must be 1.
    pub fn backward(&self, gradient: &Tensor) -> Tensor {
        let adjoint = || self.adjoint.get_or_init(|| Filter::adjoint(&self.weight)).as_ref();
        match if self.keeps_size(gradient) { adjoint() } else { None } {
            Some(filter) => filter.convolve(gradient, None, None),
            None => gradient.conv_transpose2d(&self.weight, None::<Tensor>, [1, 1], self.padding, [0, 0], 1, [1, 1]),
        }
    }
}

/// Pointwise 1-d convolution, weight `[out, in, 1]` (the attention blocks' projections).
#[derive(Debug)]
pub struct Pointwise {
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    /// Registers `weight` and `bias` under `path`; `zero` starts both at zero.
    pub fn new(path: Path, inputs: i64, outputs: i64, zero: bool) -> Self {
        let init = if zero { Init::Const(0.0) } else { default_init(inputs) };
        Self { weight: path.var("weight", &[outputs, inputs, 1], init), bias: path.var("bias", &[outputs], init) }
    }

    /// `[n, in, length]` to `[n, out, length]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        self.weight.to_kind(kind).squeeze_dim(-1).matmul(x) + self.bias.to_kind(kind).unsqueeze(-1)
    }

    /// `[n, length, in]` to `[n, length, out]`.
    pub fn of_tokens(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind).squeeze_dim(-1), Some(self.bias.to_kind(kind)))
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
        Self { weight: path.var("weight", &[outputs, inputs], init), bias: path.var("bias", &[outputs], init) }
    }

    /// `[n, in]` to `[n, out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind), Some(self.bias.to_kind(kind)))
    }
}

/// Group normalisation with float32 statistics whatever the input's kind.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    eps: f64,
}

impl GroupNorm {
    /// Registers `weight` and `bias` under `path`; `channels` must be a multiple of `groups`.
    pub fn new(path: Path, channels: i64, groups: i64, eps: f64) -> Self {
        assert!(channels % groups == 0, "GroupNorm: {channels} channels do not split into {groups} groups");
        Self {
            weight: path.var("weight", &[channels], Init::Const(1.0)),
            bias: path.var("bias", &[channels], Init::Const(0.0)),
            groups,
            eps,
        }
    }

    /// How this layer normalises `x` with this project's kernels, if it may.
    fn normed(&self, x: &Tensor, scale_shift: Option<&Tensor>, silu: bool) -> Option<Normed> {
        let affine = || Affine { weight: &self.weight, bias: &self.bias, groups: self.groups as usize, eps: self.eps, scale_shift, silu };
        (!self.weight.requires_grad() && cpu::takes(x)).then(|| Normed::new(x, &affine()))
    }

    /// Same shape and kind out as in.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        // The CPU kernel takes reduced-precision input with float32 affine weights and sums in float32.
        let plain = || x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.eps, false);
        self.normed(x, None, false).map_or_else(plain, |normed| normed.forward())
    }

    /// Normalised, times 1 plus the first half of `scale_shift` `[n, 2 c]` plus its second, then SiLU.
    pub fn forward_silu(&self, x: &Tensor, scale_shift: Option<&Tensor>) -> Tensor {
        if let Some(normed) = self.normed(x, scale_shift, true) {
            return normed.forward();
        }
        let h = self.forward(x);
        match scale_shift {
            Some(e) => {
                let parts = e.to_kind(h.kind()).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
                (h * (&parts[0] + 1.0) + &parts[1]).silu()
            }
            None => h.silu(),
        }
    }

    /// [`GroupNorm::forward_silu`] and the way its gradient takes back; none where this project's kernels do not serve.
    pub fn pullback_silu(&self, x: &Tensor, scale_shift: Option<&Tensor>) -> Option<(Tensor, Pullback<'_>)> {
        let normed = self.normed(x, scale_shift, true)?;
        Some((normed.forward(), Box::new(move |gradient| normed.backward(gradient))))
    }
}

/// Batch normalisation, float32 statistics (`running_mean`, `running_var`, `num_batches_tracked` as in PyTorch).
#[derive(Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: f64,
}

impl BatchNorm {
    /// Registers the affine weights and the running statistics under `path`.
    pub fn new(path: Path, channels: i64, eps: f64) -> Self {
        Self {
            weight: path.var("weight", &[channels], Init::Const(1.0)),
            bias: path.var("bias", &[channels], Init::Const(0.0)),
            running_mean: path.zeros_no_train("running_mean", &[channels]),
            running_var: path.ones_no_train("running_var", &[channels]),
            eps,
        }
    }

    /// Normalises by the batch when `train`, else by the running statistics.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let (w, b) = (Some(&self.weight), Some(&self.bias));
        Tensor::batch_norm(x, w, b, Some(&self.running_mean), Some(&self.running_var), train, 0.1, self.eps, false)
    }
}

/// Sinusoidal embedding of time indices `t` `[n]`: `[n, dim]`, cosines first
/// (guided-diffusion's `timestep_embedding`; frequencies 10000^(-k/half)).
pub fn timestep_embedding(t: &Tensor, dim: i64) -> Tensor {
    let args = time_angles(t, dim / 2, dim / 2);
    let emb = Tensor::cat(&[args.cos(), args.sin()], 1);
    if dim % 2 == 1 { emb.constant_pad_nd([0, 1]) } else { emb }
}

/// `t` `[n]` times `half` frequencies 10000^(-k/span): `[n, half]`, whose sines and cosines embed a time.
pub(crate) fn time_angles(t: &Tensor, half: i64, span: i64) -> Tensor {
    let k = Tensor::arange(half, (Kind::Float, t.device()));
    let freqs = (k * (-(10000f64.ln()) / span as f64)).exp();
    t.to_kind(Kind::Float).unsqueeze(1) * freqs.unsqueeze(0)
}

/// Lays a picture batch out channels-last: the shape stays `[n, c, h, w]`, the strides change.
/// Faster for batch normalisation and pooling, many times slower for group normalisation (libtorch 2.11, CPU).
pub fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
