//! Sinusoidal embeddings of time.

use tch::{Kind, Tensor};

/// Sinusoidal embedding of time indices `t` `[n]`: `[n, dim]`, cosines first
/// (guided-diffusion's `timestep_embedding`; frequencies 10000^(-k/half)).
pub fn timestep_embedding(t: &Tensor, dim: i64) -> Tensor {
    let args = time_angles(t, dim / 2, dim / 2);
    let emb = Tensor::cat(&[args.cos(), args.sin()], 1);
    if dim % 2 == 1 {
        emb.constant_pad_nd([0, 1])
    } else {
        emb
    }
}

/// `t` `[n]` times `half` frequencies 10000^(-k/span): `[n, half]`, whose sines and cosines embed a time.
pub(crate) fn time_angles(t: &Tensor, half: i64, span: i64) -> Tensor {
    let k = Tensor::arange(half, (Kind::Float, t.device()));
    let freqs = (k * (-(10000f64.ln()) / span as f64)).exp();
    t.to_kind(Kind::Float).unsqueeze(1) * freqs.unsqueeze(0)
}
