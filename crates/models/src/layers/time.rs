//! Sinusoidal embeddings of the diffusion time.

use crate::cuda::takes_own_ways;
use tch::{Kind, Tensor};

/// The time index `t` for the images of a batch `x` `[n, ...]`, as the networks take it: `[n]`, or
/// on a GPU `[1]`, which holds for all images, so that the time is embedded once and not per image.
/// A CPU keeps a row per image, because a product with fewer rows rounds differently there.
pub fn time_indices(x: &Tensor, t: f64) -> Tensor {
    let rows = if takes_own_ways(x.device()) {
        1
    } else {
        x.size()[0]
    };
    Tensor::full([rows], t, (Kind::Float, x.device()))
}

/// Sinusoidal embedding of time indices `t` `[n]`: `[n, dim]` in float32, cosines first
/// (guided-diffusion's `timestep_embedding`; frequencies `10000^(-k/half)`).
pub fn timestep_embedding(t: &Tensor, dim: i64) -> Tensor {
    let angles = time_angles(t, dim / 2, dim / 2);
    let embedding = Tensor::cat(&[angles.cos(), angles.sin()], 1);
    if dim % 2 == 1 {
        embedding.constant_pad_nd([0, 1])
    } else {
        embedding
    }
}

/// `t` `[n]` times `half` frequencies `10000^(-k/span)`: the angles `[n, half]` whose sines and
/// cosines embed a time.
pub(crate) fn time_angles(t: &Tensor, half: i64, span: i64) -> Tensor {
    let k = Tensor::arange(half, (Kind::Float, t.device()));
    let frequencies = (k * (-(10000f64.ln()) / span as f64)).exp();
    t.to_kind(Kind::Float).unsqueeze(1) * frequencies.unsqueeze(0)
}
