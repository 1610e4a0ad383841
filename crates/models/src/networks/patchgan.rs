//! The discriminator of CUT (antialiased) and CycleGAN (plain): convolutions that judge patches of
//! an image (`NLayerDiscriminator` of both repositories).

use super::config::check_count;
use super::sequential::{Builder, Layer, Norm, Sequential};
use crate::layers::ConvOptions;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of a discriminator, named as in the options of both repositories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchganConfig {
    /// Channels of the images.
    pub input_nc: i64,
    /// Channels of the first convolution; each later one doubles them, up to eight times.
    pub ndf: i64,
    /// Convolutions that halve the sides. One judges patches of 16 pixels, two of 34, three of 70.
    pub n_layers: i64,
    /// The normalisation behind each convolution but the first and the last.
    pub norm: Norm,
    /// Whether halvings blur and take every second pixel (CUT), or are convolutions of stride 2.
    pub antialias: bool,
}

impl PatchganConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        check_count("input_nc", self.input_nc, 1..=64)?;
        check_count("ndf", self.ndf, 1..=512)?;
        check_count("n_layers", self.n_layers, 1..=8)
    }

    /// Channels behind the convolution at `level`.
    fn channels(&self, level: i64) -> i64 {
        self.ndf << level.min(3)
    }
}

/// The discriminator; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct Patchgan {
    model: Sequential,
}

/// A 4x4 convolution on a border of one zero pixel.
fn conv(model: &mut Builder, inputs: i64, outputs: i64, stride: i64) {
    let options = ConvOptions {
        kernel: [4, 4],
        stride,
        padding: [1, 1],
        bias: true,
        zero: false,
    };
    model.conv(inputs, outputs, options);
}

impl Patchgan {
    pub(super) fn new(path: &Path, config: &PatchganConfig) -> Self {
        let mut model = Builder::new(path / "model");
        let stride = if config.antialias { 1 } else { 2 };
        let mut channels = config.input_nc;
        for level in 0..config.n_layers {
            conv(&mut model, channels, config.channels(level), stride);
            channels = config.channels(level);
            if level > 0 {
                model.norm(config.norm);
            }
            model.push(Layer::LeakyRelu);
            if config.antialias {
                model.push(Layer::BlurDown);
            }
        }
        let outputs = config.channels(config.n_layers);
        conv(&mut model, channels, outputs, 1);
        model.norm(config.norm);
        model.push(Layer::LeakyRelu);
        conv(&mut model, outputs, 1, 1);
        Self {
            model: model.finish(),
        }
    }

    /// Images `x` `[n, input_nc, h, w]` in [-1, 1] to one number per patch, `[n, 1, h', w']` in
    /// float32, without a sigmoid. `kind` is the working precision.
    pub fn forward(&self, x: &Tensor, kind: Kind) -> Tensor {
        self.model.forward(&x.to_kind(kind)).to_kind(Kind::Float)
    }
}
