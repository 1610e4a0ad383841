//! The few layers that all networks share. Each layer computes in the kind of its input; weights
//! are float32 while they are trained, and frozen ones may have been converted to the working
//! precision ([`Loaded::freeze`](crate::Loaded::freeze)).

pub mod blur;
pub mod conv;
mod conv_group_norm;
mod instance_norm;
pub mod linear;
pub mod norm;
pub mod time;

pub use blur::{blur_down, blur_up};
pub use conv::{Conv2d, ConvNorm, ConvOptions, ConvTranspose2d};
pub use conv_group_norm::Embedding;
pub use instance_norm::InstanceNorm;
pub use linear::{Linear, Pointwise};
pub use norm::{BatchNorm, GroupNorm};
pub use time::{time_indices, timestep_embedding};

use tch::Tensor;
use tch::nn::Init;

/// Whether a network is trained or applied: what PyTorch's `train()` and `eval()` set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch normalisation takes the statistics of the batch, and dropout is active.
    Train,
    /// Batch normalisation takes the running statistics, and dropout does nothing.
    Eval,
}

/// PyTorch's default for the weights and biases of convolutions and linear layers: uniform within
/// `1 / sqrt(fan_in)` of zero.
fn default_init(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform {
        lo: -bound,
        up: bound,
    }
}

/// `x` where it is positive, a fifth of it elsewhere: the GANs' leaky ReLU, whose slope is not
/// libtorch's default.
pub fn leaky_relu(x: &Tensor) -> Tensor {
    const SLOPE: f32 = 0.2;
    let slope = Tensor::from_slice(&[SLOPE]);
    x.prelu(&slope.to_device(x.device()).to_kind(x.kind()))
}

/// Copies an image batch into the channels-last layout: the shape stays `[n, c, h, w]`, the strides
/// change. It is faster for batch normalisation and pooling, and many times slower for libtorch's
/// group normalisation (2.11, CPU).
pub fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
