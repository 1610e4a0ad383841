//! Attention as in guided-diffusion's `unet.py`.

use crate::kernels::bf16;
use crate::layers::{GroupNorm, Pointwise};
use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

/// libtorch's fused attention over `q`, `k`, `v` `[n, heads, length, width]`; in float32 where bf16
/// is emulated.
pub(super) fn scaled_dot_product(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    if bf16::is_emulated(q) {
        return bf16::through_float32(q, |q| {
            scaled_dot_product(q, &k.to_kind(Kind::Float), &v.to_kind(Kind::Float))
        });
    }
    Tensor::scaled_dot_product_attention(q, k, v, None::<Tensor>, 0.0, false, None, false)
}

/// Attention over `q`, `k`, `v` `[n * heads, width, length]`, with q and k scaled by
/// `width^(-1/4)` each and the softmax in float32.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let scale = (q.size()[1] as f64).powf(-0.25);
    let logits = (q * scale).transpose(1, 2).bmm(&(k * scale));
    let weight = logits.softmax(-1, Kind::Float).to_kind(v.kind());
    v.bmm(&weight.transpose(1, 2))
}

/// Numbers of an attention layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionShape {
    pub channels: i64,
    pub heads: i64,
    /// Whether q, k, v are split first, then heads (`QKVAttention`), or the other way round
    /// (`QKVAttentionLegacy`).
    pub new_order: bool,
}

/// `AttentionBlock`, with either order of heads and q, k, v.
#[derive(Debug)]
pub(super) struct AttentionBlock {
    norm: GroupNorm,
    qkv: Pointwise,
    proj_out: Pointwise,
    shape: AttentionShape,
}

impl AttentionBlock {
    pub fn new(path: Path, shape: AttentionShape) -> Self {
        let channels = shape.channels;
        Self {
            norm: GroupNorm::new(&path / "norm", channels),
            qkv: Pointwise::new(&path / "qkv", channels, 3 * channels),
            proj_out: Pointwise::zeroed(&path / "proj_out", channels, channels),
            shape,
        }
    }

    /// Attention over all positions of `x` `[n, c, h, w]`, plus `x`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (n, c, h, w) = x.size4().expect("attention input has four dimensions");
        let AttentionShape {
            heads, new_order, ..
        } = self.shape;
        let (length, width) = (h * w, c / heads);
        let tokens = self
            .norm
            .forward(x)
            .permute([0, 2, 3, 1])
            .reshape([n, length, c]);
        let qkv = self.qkv.forward_tokens(&tokens);
        let qkv = match new_order {
            true => qkv
                .reshape([n, length, 3, heads, width])
                .permute([2, 0, 3, 1, 4]),
            false => qkv
                .reshape([n, length, heads, 3, width])
                .permute([3, 0, 2, 1, 4]),
        };
        let (q, k, v) = (qkv.select(0, 0), qkv.select(0, 1), qkv.select(0, 2));
        let a = scaled_dot_product(&q, &k, &v);
        let a = self
            .proj_out
            .forward_tokens(&a.transpose(1, 2).reshape([n, length, c]));
        x + a.reshape([n, h, w, c]).permute([0, 3, 1, 2])
    }
}

/// `AttentionPool2d`: a token of the mean stands in front of the positions, every token has a
/// learned position; q, k, v are split first, then heads. The mean's token is the result.
#[derive(Debug)]
pub(super) struct AttentionPool {
    positional_embedding: Tensor,
    qkv_proj: Pointwise,
    c_proj: Pointwise,
    heads: i64,
}

impl AttentionPool {
    /// For feature maps `[n, channels, side, side]`.
    pub fn new(path: Path, side: i64, channels: i64, head_channels: i64, outputs: i64) -> Self {
        let init = Init::Randn {
            mean: 0.0,
            stdev: (channels as f64).powf(-0.5),
        };
        let shape = [channels, side * side + 1];
        Self {
            positional_embedding: path.var("positional_embedding", &shape, init),
            qkv_proj: Pointwise::new(&path / "qkv_proj", channels, 3 * channels),
            c_proj: Pointwise::new(&path / "c_proj", channels, outputs),
            heads: channels / head_channels,
        }
    }

    /// `[n, channels, side, side]` to `[n, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (n, c, h, w) = x.size4().expect("pool input has four dimensions");
        let flat = x.reshape([n, c, h * w]);
        let mean = flat.mean_dim(-1, true, flat.kind());
        let positions = self.positional_embedding.to_kind(x.kind()).unsqueeze(0);
        let tokens = Tensor::cat(&[mean, flat], -1) + positions;
        let qkv = self.qkv_proj.forward(&tokens).chunk(3, 1);
        let [q, k, v] =
            [0, 1, 2].map(|i| qkv[i].reshape([n * self.heads, c / self.heads, h * w + 1]));
        let a = attend(&q, &k, &v).reshape([n, c, h * w + 1]);
        self.c_proj.forward(&a).select(-1, 0)
    }
}
