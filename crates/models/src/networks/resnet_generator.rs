//! The generator of CUT (antialiased) and CycleGAN (not antialiased): residual blocks between two
//! downsampling and two upsampling levels (`ResnetGenerator` of both repositories).

use super::Loaded;
use super::config::check_count;
use super::sequential::{Builder, Layer, Norm, Sequential};
use super::timing::timed;
use crate::layers::ConvOptions;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// The configuration of a generator, its keys named as the options of both repositories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResnetGeneratorConfig {
    /// Channels of the input images.
    pub input_nc: i64,
    /// Channels of the output images.
    pub output_nc: i64,
    /// Channels at full resolution; each downsampling level doubles them.
    pub ngf: i64,
    /// Number of residual blocks between downsampling and upsampling.
    pub n_blocks: i64,
    /// The normalisation after each convolution but the last.
    pub norm: Norm,
    /// Whether a downsampling level is a convolution of stride 1 and a blur of stride 2 (CUT), or a
    /// convolution of stride 2 (CycleGAN).
    pub antialias_down: bool,
    /// Whether an upsampling level is an interpolation and a convolution (CUT), or a transposed
    /// convolution (CycleGAN).
    pub antialias_up: bool,
}

/// Number of downsampling levels, and of upsampling levels.
const LEVELS: u32 = 2;

/// The height and width of an image must be multiples of this: downsampling rounds any other, and
/// the translation would have another size than the image.
pub const SIDE_MULTIPLE: i64 = 1 << LEVELS;

impl ResnetGeneratorConfig {
    /// Checks that every number lies in its range, as
    /// [`NetworkConfig::check`](super::NetworkConfig::check) states.
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

/// A translation, and the outputs of the layers that the caller names.
#[derive(Debug)]
pub struct GeneratorTrace {
    /// `[n, output_nc, h, w]` in [-1, 1].
    pub image: Tensor,
    /// One feature map per named layer, `[n, channels, h', w']` at the layer's resolution.
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
            downsample(&mut model, config, config.ngf << level);
        }
        for _ in 0..config.n_blocks {
            model.block(config.ngf << LEVELS);
        }
        for level in (1..=LEVELS).rev() {
            upsample(&mut model, config, config.ngf << level);
        }
        model.push(Layer::ReflectionPad(3));
        model.conv(config.ngf, config.output_nc, edge);
        model.push(Layer::Tanh);
        Self {
            model: model.finish(),
        }
    }

    /// Translates images `x` `[n, input_nc, h, w]` in [-1, 1] to `[n, output_nc, h, w]` in [-1, 1],
    /// in float32; `h` and `w` are multiples of [`SIDE_MULTIPLE`]. `kind` is the working precision.
    pub fn forward(&self, x: &Tensor, kind: Kind) -> Tensor {
        self.trace(x, &[], kind).image
    }

    /// As [`ResnetGenerator::forward`], with the outputs of `layers` (N of `model.N`) in float32.
    pub fn trace(&self, x: &Tensor, layers: &[usize], kind: Kind) -> GeneratorTrace {
        let count = self.model.len();
        let traced = self.model.trace(&x.to_kind(kind), layers, count);
        GeneratorTrace {
            image: traced.out.to_kind(Kind::Float).contiguous(),
            features: in_float32(traced.features),
        }
    }

    /// The outputs of `layers` in float32, without a translation: layers after the last of them are
    /// not computed.
    pub fn features(&self, x: &Tensor, layers: &[usize], kind: Kind) -> Vec<Tensor> {
        let count = layers.iter().max().map_or(0, |last| last + 1);
        let traced = self.model.trace(&x.to_kind(kind), layers, count);
        in_float32(traced.features)
    }

    /// Checks that the generator has all of `layers`.
    ///
    /// # Errors
    /// A number lies beyond the last layer; the error names it.
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

/// Appends a level that doubles the channels and halves height and width.
fn downsample(model: &mut Builder, config: &ResnetGeneratorConfig, channels: i64) {
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

/// Appends a level that halves the channels and doubles height and width.
fn upsample(model: &mut Builder, config: &ResnetGeneratorConfig, channels: i64) {
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
    /// Translates images `x` `[n, 3, h, w]` in [-1, 1] to `[n, 3, h, w]` in [-1, 1]; the time it
    /// takes counts as the network's.
    pub fn translate(&self, x: &Tensor) -> Tensor {
        timed(x.device(), || self.net.forward(x, self.kind))
    }
}
