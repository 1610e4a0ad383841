//! The few layers all networks share. Weights stay in float32; each layer computes in its input's kind.

pub mod conv;
pub mod linear;
pub mod norm;
pub mod time;

pub use conv::{Conv2d, ConvNorm, ConvOptions};
pub use linear::{Linear, Pointwise};
pub use norm::{BatchNorm, GroupNorm};
pub use time::timestep_embedding;

use tch::Tensor;
use tch::nn::Init;

/// PyTorch's default bound for convolution and linear weights: uniform in +-1/sqrt(fan_in).
fn default_init(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform {
        lo: -bound,
        up: bound,
    }
}

/// Lays a picture batch out channels-last: the shape stays `[n, c, h, w]`, the strides change.
/// Faster for batch normalisation and pooling, many times slower for libtorch's group normalisation (2.11, CPU).
pub fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
