//! The generator of CUT (antialiased) and CycleGAN (plain): a residual network between two halvings
//! and two doublings (`ResnetGenerator` of both repositories).

use super::Loaded;
use super::config::check_count;
use super::sequential::{Builder, Layer, Norm, Sequential};
use super::timing::timed;
use crate::layers::ConvOptions;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of a generator, named as in the options of both repositories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResnetGeneratorConfig {
    /// Channels of the images that come in.
    pub input_nc: i64,
    /// Channels of the images that come out.
    pub output_nc: i64,
    /// Channels of the finest level; each halving doubles them.
    pub ngf: i64,
    /// Residual blocks between the halvings and the doublings.
    pub n_blocks: i64,
    /// The normalisation behind each convolution but the last.
    pub norm: Norm,
    /// Whether halvings blur and take every second pixel (CUT), or are convolutions of stride 2.
    pub antialias_down: bool,
    /// Whether doublings interpolate (CUT), or are transposed convolutions.
    pub antialias_up: bool,
}

/// Halvings, and doublings.
const LEVELS: u32 = 2;

/// The sides of an image must be multiples of this, as the layers meet again only then.
pub const SIDE_MULTIPLE: i64 = 1 << LEVELS;

impl ResnetGeneratorConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        check_count("input_nc", self.input_nc, 1..=64)?;
        check_count("output_nc", self.output_nc, 1..=64)?;
        check_count("ngf", self.ngf, 1..=512)?;
        check_count("n_blocks", self.n_blocks, 0..=64)
    }
}

/// The generator; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct ResnetGenerator {
    model: Sequential,
}

/// A translation, and what some layers of the generator gave on the way.
#[derive(Debug)]
pub struct GeneratorTrace {
    /// `[n, output_nc, h, w]` in [-1, 1].
    pub image: Tensor,
    /// One feature map per layer asked for.
    pub features: Vec<Tensor>,
}

impl ResnetGenerator {
    pub(super) fn new(path: &Path, config: &ResnetGeneratorConfig) -> Self {
        let mut model = Builder::new(path / "model");
        let edge = ConvOptions::same(7).no_padding();
        model.push(Layer::ReflectionPad(3));
        model.conv(config.input_nc, config.ngf, edge);
        model.norm(config.norm);
        model.push(Layer::Relu);
        for level in 0..LEVELS {
            halve(&mut model, config, config.ngf << level);
        }
        for _ in 0..config.n_blocks {
            model.block(config.ngf << LEVELS);
        }
        for level in (1..=LEVELS).rev() {
            double(&mut model, config, config.ngf << level);
        }
        model.push(Layer::ReflectionPad(3));
        model.conv(config.ngf, config.output_nc, edge);
        model.push(Layer::Tanh);
        Self {
            model: model.finish(),
        }
    }

    /// Images `x` `[n, input_nc, h, w]` in [-1, 1] to `[n, output_nc, h, w]` in [-1, 1], in
    /// float32; `h` and `w` are multiples of [`SIDE_MULTIPLE`]. `kind` is the working precision.
    pub fn forward(&self, x: &Tensor, kind: Kind) -> Tensor {
        self.trace(x, &[], kind).image
    }

    /// [`ResnetGenerator::forward`] with the outputs of `layers` (`model.N`), in float32.
    pub fn trace(&self, x: &Tensor, layers: &[usize], kind: Kind) -> GeneratorTrace {
        let count = self.model.len();
        let traced = self.model.trace(&x.to_kind(kind), layers, count);
        GeneratorTrace {
            image: traced.out.to_kind(Kind::Float).contiguous(),
            features: in_float32(traced.features),
        }
    }

    /// The outputs of `layers` alone, in float32; nothing behind the last of them is computed.
    pub fn features(&self, x: &Tensor, layers: &[usize], kind: Kind) -> Vec<Tensor> {
        let count = layers.iter().max().map_or(0, |last| last + 1);
        let traced = self.model.trace(&x.to_kind(kind), layers, count);
        in_float32(traced.features)
    }

    /// Checks that it has these layers.
    ///
    /// # Errors
    /// A layer behind its last one, named.
    pub fn check_layers(&self, layers: &[usize]) -> Result<()> {
        let count = self.model.len();
        for layer in layers {
            ensure!(
                *layer < count,
                "the generator has layers 0 to {}, none {layer}",
                count - 1
            );
        }
        Ok(())
    }
}

fn in_float32(features: Vec<Tensor>) -> Vec<Tensor> {
    let features = features.into_iter();
    features.map(|f| f.to_kind(Kind::Float)).collect()
}

/// Doubles the channels and halves the sides.
fn halve(model: &mut Builder, config: &ResnetGeneratorConfig, channels: i64) {
    let options = ConvOptions {
        stride: if config.antialias_down { 1 } else { 2 },
        ..ConvOptions::same(3)
    };
    model.conv(channels, 2 * channels, options);
    model.norm(config.norm);
    model.push(Layer::Relu);
    if config.antialias_down {
        model.push(Layer::BlurDown);
    }
}

/// Halves the channels and doubles the sides.
fn double(model: &mut Builder, config: &ResnetGeneratorConfig, channels: i64) {
    if config.antialias_up {
        model.push(Layer::BlurUp);
        model.conv(channels, channels / 2, ConvOptions::same(3));
    } else {
        model.conv_transpose(channels, channels / 2);
    }
    model.norm(config.norm);
    model.push(Layer::Relu);
}

impl Loaded<ResnetGenerator> {
    /// Translations `[n, 3, h, w]` in [-1, 1] of images `x` `[n, 3, h, w]` in [-1, 1].
    pub fn translate(&self, x: &Tensor) -> Tensor {
        timed(|| self.net.forward(x, self.kind))
    }
}
