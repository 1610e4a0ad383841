//! StarGAN v2's generator: an encoder, and a decoder that a style steers.

use super::stargan_v2_blocks::{
    DecoderBlock, DecoderOptions, EncoderBlock, EncoderOptions, ImageShape, check_styles,
};
use super::wing_masks::Masks;
use crate::layers::{Conv2d, ConvOptions, InstanceNorm, leaky_relu};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of a generator, named as in the repository's options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StarganV2GeneratorConfig {
    /// Side of the square images in pixels, a power of 2.
    pub img_size: i64,
    /// Length of a style.
    pub style_dim: i64,
    /// Most channels that a convolution has.
    pub max_conv_dim: i64,
    /// Divides the high-pass filter; 0 for generators without one. With a filter there is one
    /// halving more, and the decoder has no shortcuts.
    pub w_hpf: f64,
}

impl StarganV2GeneratorConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        self.shape().check()?;
        check_styles(self.style_dim, 1)?;
        ensure!(
            (0.0..=1000.0).contains(&self.w_hpf),
            "w_hpf {}: must be 0 to 1000",
            self.w_hpf
        );
        Ok(())
    }

    fn shape(&self) -> ImageShape {
        ImageShape {
            img_size: self.img_size,
            max_conv_dim: self.max_conv_dim,
        }
    }

    fn has_filter(&self) -> bool {
        self.w_hpf > 0.0
    }

    fn halvings(&self) -> u32 {
        self.shape().log2_side() - 4 + u32::from(self.has_filter())
    }
}

/// Blocks of the lowest resolution, in encoder and decoder.
const BOTTLENECK_BLOCKS: usize = 2;

/// Sides at which encoder features reach the decoder through the high-pass filter, in pixels.
const MASKED_SIDES: [i64; 3] = [32, 64, 128];

/// The side at which the first mask counts; the second counts at the others.
const FIRST_MASK_SIDE: i64 = 32;

/// The high-pass filter of both axes for `w_hpf` 1, `[3, 3]` in float32.
pub(crate) fn high_pass_kernel() -> Tensor {
    let mut kernel = [-1f32; 9];
    kernel[4] = 8.0;
    Tensor::from_slice(&kernel).reshape([3, 3])
}

/// The last layers: normalisation, leaky ReLU, 1x1 convolution.
#[derive(Debug)]
struct ToRgb {
    norm: InstanceNorm,
    conv: Conv2d,
}

/// The generator; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct StarganV2Generator {
    from_rgb: Conv2d,
    encode: Vec<EncoderBlock>,
    decode: Vec<DecoderBlock>,
    to_rgb: ToRgb,
    w_hpf: f64,
}

/// Channels of one block's two ends, the finer one first.
type Widths = (i64, i64);

/// The widths of the halving blocks from the finest on.
fn halving_widths(config: &StarganV2GeneratorConfig) -> Vec<Widths> {
    let shape = config.shape();
    let mut widths = Vec::new();
    let mut channels = shape.first_width();
    for _ in 0..config.halvings() {
        let wider = shape.wider(channels);
        widths.push((channels, wider));
        channels = wider;
    }
    widths
}

impl StarganV2Generator {
    pub(super) fn new(path: &Path, config: &StarganV2GeneratorConfig) -> Self {
        let first = config.shape().first_width();
        let halving = halving_widths(config);
        let deepest = halving.last().map_or(first, |(_, wider)| *wider);
        let to_rgb = path / "to_rgb";
        Self {
            from_rgb: Conv2d::new(path / "from_rgb", 3, first, ConvOptions::same(3)),
            encode: encoder(&(path / "encode"), &halving, deepest),
            decode: decoder(&(path / "decode"), config, &halving, deepest),
            to_rgb: ToRgb {
                norm: InstanceNorm::affine(&to_rgb / 0, first),
                conv: Conv2d::new(&to_rgb / 2, first, 3, ConvOptions::same(1)),
            },
            w_hpf: config.w_hpf,
        }
    }

    /// Images `x` `[n, 3, s, s]` in [-1, 1] under styles `[n, style_dim]`: `[n, 3, s, s]` around
    /// [-1, 1], not clamped, in float32. `kind` is the working precision.
    ///
    /// Without `masks` nothing of the source is added back; a generator without a high-pass filter
    /// takes none.
    pub fn forward(&self, x: &Tensor, style: &Tensor, masks: Option<&Masks>, kind: Kind) -> Tensor {
        let style = style.to_kind(kind);
        let masks = masks.filter(|_| self.w_hpf > 0.0);
        let mut kept = HashMap::new();
        let mut h = self.from_rgb.forward(&x.to_kind(kind));
        for block in &self.encode {
            let side = h.size()[2];
            if masks.is_some() && MASKED_SIDES.contains(&side) {
                kept.insert(side, h.shallow_clone());
            }
            h = block.forward(&h);
        }
        for block in &self.decode {
            h = block.forward(&h, &style);
            let side = h.size()[2];
            if let (Some(masks), Some(kept)) = (masks, kept.get(&side)) {
                h = h.g_add(&self.high_pass(masks, kept, side));
            }
        }
        let h = leaky_relu(&self.to_rgb.norm.forward(&h));
        self.to_rgb.conv.forward(&h).to_kind(Kind::Float)
    }

    /// The high frequencies of encoder features of this side under their mask.
    fn high_pass(&self, masks: &Masks, features: &Tensor, side: i64) -> Tensor {
        let mask = if side == FIRST_MASK_SIDE {
            &masks.face
        } else {
            &masks.inner
        };
        let mask = mask.upsample_bilinear2d([side, side], false, None, None);
        let channels = features.size()[1];
        let kernel = (high_pass_kernel() / self.w_hpf)
            .to_device(features.device())
            .to_kind(features.kind())
            .expand([channels, 1, 3, 3], false);
        let bias = None::<Tensor>;
        let masked = mask.to_kind(features.kind()) * features;
        masked.conv2d(&kernel, bias, [1, 1], [1, 1], [1, 1], channels)
    }
}

fn encoder(path: &Path, halving: &[Widths], deepest: i64) -> Vec<EncoderBlock> {
    let mut blocks = Vec::new();
    for (channels, wider) in halving {
        let options = EncoderOptions {
            normalize: true,
            downsample: true,
        };
        let at = path / blocks.len();
        blocks.push(EncoderBlock::new(&at, *channels, *wider, options));
    }
    for _ in 0..BOTTLENECK_BLOCKS {
        let options = EncoderOptions {
            normalize: true,
            downsample: false,
        };
        let at = path / blocks.len();
        blocks.push(EncoderBlock::new(&at, deepest, deepest, options));
    }
    blocks
}

fn decoder(
    path: &Path,
    config: &StarganV2GeneratorConfig,
    halving: &[Widths],
    deepest: i64,
) -> Vec<DecoderBlock> {
    let options = DecoderOptions {
        style_dim: config.style_dim,
        upsample: false,
        residual: !config.has_filter(),
    };
    let mut blocks = Vec::new();
    for _ in 0..BOTTLENECK_BLOCKS {
        let at = path / blocks.len();
        blocks.push(DecoderBlock::new(&at, deepest, deepest, options));
    }
    for (channels, wider) in halving.iter().rev() {
        let options = DecoderOptions {
            upsample: true,
            ..options
        };
        let at = path / blocks.len();
        blocks.push(DecoderBlock::new(&at, *wider, *channels, options));
    }
    blocks
}
