//! What the networks of StarGAN v2 have in common (Choi et al. 2020).

use super::config::check_count;
use crate::layers::{Conv2d, ConvOptions, InstanceNorm, Linear, leaky_relu};
use anyhow::{Result, ensure};
use tch::Tensor;
use tch::nn::Path;

/// The sum of two branches times this keeps the variance of one.
const SQRT_HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// Width at the full resolution times the side of the image.
pub(super) const WIDTH_TIMES_SIDE: i64 = 1 << 14;

/// Sides that the networks can have, as powers of 2.
pub(super) const LOG2_SIDES: std::ops::RangeInclusive<u32> = 5..=10;

/// The sizes that all image networks of StarGAN v2 have.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageShape {
    /// Side of the square images in pixels, a power of 2.
    pub img_size: i64,
    /// Most channels that a convolution has.
    pub max_conv_dim: i64,
}

impl ImageShape {
    pub fn check(self) -> Result<()> {
        let (least, most) = (1i64 << LOG2_SIDES.start(), 1i64 << LOG2_SIDES.end());
        let side = self.img_size;
        ensure!(
            (least..=most).contains(&side) && side.count_ones() == 1,
            "img_size {side}: must be a power of 2 from {least} to {most}"
        );
        check_count("max_conv_dim", self.max_conv_dim, 1..=4096)
    }

    /// The exponent of the side.
    pub fn log2_side(self) -> u32 {
        self.img_size.ilog2()
    }

    /// Channels at the full resolution.
    pub fn first_width(self) -> i64 {
        WIDTH_TIMES_SIDE / self.img_size
    }

    /// Channels behind a halving of `channels` channels.
    pub fn wider(self, channels: i64) -> i64 {
        (2 * channels).min(self.max_conv_dim)
    }
}

/// Checks the sizes of styles and domains.
pub(super) fn check_styles(style_dim: i64, num_domains: i64) -> Result<()> {
    check_count("style_dim", style_dim, 1..=4096)?;
    check_count("num_domains", num_domains, 1..=1000)
}

/// The 1x1 convolution of a shortcut between different widths.
fn shortcut_conv(path: &Path, inputs: i64, outputs: i64) -> Option<Conv2d> {
    let options = ConvOptions::same(1).no_bias();
    (inputs != outputs).then(|| Conv2d::new(path / "conv1x1", inputs, outputs, options))
}

/// Halves both sides: each pixel is the mean of four.
pub(super) fn halve(x: &Tensor) -> Tensor {
    x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
}

/// Doubles both sides by repeating pixels.
pub(super) fn double(x: &Tensor) -> Tensor {
    let (height, width) = (x.size()[2], x.size()[3]);
    x.upsample_nearest2d([2 * height, 2 * width], None, None)
}

/// What an encoder block does besides its convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EncoderOptions {
    pub normalize: bool,
    pub downsample: bool,
}

/// An encoder block (`ResBlk`): activation in front of each convolution, and a shortcut.
#[derive(Debug)]
pub(super) struct EncoderBlock {
    conv1: Conv2d,
    conv2: Conv2d,
    norms: Option<[InstanceNorm; 2]>,
    shortcut: Option<Conv2d>,
    downsample: bool,
}

impl EncoderBlock {
    pub fn new(path: &Path, inputs: i64, outputs: i64, options: EncoderOptions) -> Self {
        let conv = ConvOptions::same(3);
        Self {
            conv1: Conv2d::new(path / "conv1", inputs, inputs, conv),
            conv2: Conv2d::new(path / "conv2", inputs, outputs, conv),
            norms: options
                .normalize
                .then(|| ["norm1", "norm2"].map(|name| InstanceNorm::affine(path / name, inputs))),
            shortcut: shortcut_conv(path, inputs, outputs),
            downsample: options.downsample,
        }
    }

    fn normalize(&self, index: usize, x: &Tensor) -> Tensor {
        match &self.norms {
            Some(norms) => norms[index].forward(x),
            None => x.shallow_clone(),
        }
    }

    fn resize(&self, x: Tensor) -> Tensor {
        if self.downsample { halve(&x) } else { x }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let widened = match &self.shortcut {
            Some(conv) => conv.forward(x),
            None => x.shallow_clone(),
        };
        let h = self.conv1.forward(&leaky_relu(&self.normalize(0, x)));
        let h = self.resize(h);
        let h = self.conv2.forward(&leaky_relu(&self.normalize(1, &h)));
        (self.resize(widened) + h) * SQRT_HALF
    }
}

/// Adaptive instance normalisation: factor and offset of each channel come from a style.
#[derive(Debug)]
struct AdaIn {
    norm: InstanceNorm,
    fc: Linear,
}

impl AdaIn {
    fn new(path: Path, style_dim: i64, channels: i64) -> Self {
        Self {
            norm: InstanceNorm::plain(),
            fc: Linear::new(path / "fc", style_dim, 2 * channels),
        }
    }

    /// `x` `[n, c, h, w]` under styles `[n, style_dim]`.
    fn forward(&self, x: &Tensor, style: &Tensor) -> Tensor {
        let parts = self.fc.forward(style).unsqueeze(-1).unsqueeze(-1);
        let parts = parts.chunk(2, 1);
        (&parts[0] + 1.0) * self.norm.forward(x) + &parts[1]
    }
}

/// What a decoder block does besides its convolutions.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecoderOptions {
    pub style_dim: i64,
    pub upsample: bool,
    /// Whether it adds its shortcut; generators with a high-pass filter do not, though their files
    /// hold its convolution.
    pub residual: bool,
}

/// A decoder block (`AdainResBlk`).
#[derive(Debug)]
pub(super) struct DecoderBlock {
    conv1: Conv2d,
    conv2: Conv2d,
    norm1: AdaIn,
    norm2: AdaIn,
    shortcut: Option<Conv2d>,
    upsample: bool,
    residual: bool,
}

impl DecoderBlock {
    pub fn new(path: &Path, inputs: i64, outputs: i64, options: DecoderOptions) -> Self {
        let conv = ConvOptions::same(3);
        Self {
            conv1: Conv2d::new(path / "conv1", inputs, outputs, conv),
            conv2: Conv2d::new(path / "conv2", outputs, outputs, conv),
            norm1: AdaIn::new(path / "norm1", options.style_dim, inputs),
            norm2: AdaIn::new(path / "norm2", options.style_dim, outputs),
            shortcut: shortcut_conv(path, inputs, outputs),
            upsample: options.upsample,
            residual: options.residual,
        }
    }

    fn resize(&self, x: Tensor) -> Tensor {
        if self.upsample { double(&x) } else { x }
    }

    fn shortcut(&self, x: &Tensor) -> Tensor {
        let resized = self.resize(x.shallow_clone());
        match &self.shortcut {
            Some(conv) => conv.forward(&resized),
            None => resized,
        }
    }

    pub fn forward(&self, x: &Tensor, style: &Tensor) -> Tensor {
        let h = leaky_relu(&self.norm1.forward(x, style));
        let h = self.conv1.forward(&self.resize(h));
        let h = self
            .conv2
            .forward(&leaky_relu(&self.norm2.forward(&h, style)));
        if self.residual {
            (h + self.shortcut(x)) * SQRT_HALF
        } else {
            h
        }
    }
}

/// What style encoder and discriminator begin with: halvings down to 4 x 4 pixels, and one number
/// per channel of them.
#[derive(Debug)]
pub(super) struct Trunk {
    from_rgb: Conv2d,
    blocks: Vec<EncoderBlock>,
    pool: Conv2d,
    /// Channels of the output.
    pub channels: i64,
    /// Place of the first layer behind it in the sequential list.
    pub next_index: usize,
}

impl Trunk {
    /// Registers the layers under `path` and their place in the reference's sequential list, which
    /// counts activations too.
    pub fn new(path: &Path, shape: ImageShape) -> Self {
        let mut channels = shape.first_width();
        let from_rgb = Conv2d::new(path / 0, 3, channels, ConvOptions::same(3));
        let options = EncoderOptions {
            normalize: false,
            downsample: true,
        };
        let mut blocks = Vec::new();
        for index in 1..=shape.log2_side() as usize - 2 {
            let outputs = shape.wider(channels);
            blocks.push(EncoderBlock::new(
                &(path / index),
                channels,
                outputs,
                options,
            ));
            channels = outputs;
        }
        let whole = ConvOptions {
            kernel: [4, 4],
            ..ConvOptions::same(3).no_padding()
        };
        let pool_index = blocks.len() + 2;
        Self {
            from_rgb,
            pool: Conv2d::new(path / pool_index, channels, channels, whole),
            blocks,
            channels,
            next_index: pool_index + 2,
        }
    }

    /// Images `x` `[n, 3, s, s]` in the working precision to `[n, channels, 1, 1]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mut h = self.from_rgb.forward(x);
        for block in &self.blocks {
            h = block.forward(&h);
        }
        leaky_relu(&self.pool.forward(&leaky_relu(&h)))
    }
}

/// From `per_domain` `[n, length]`, one entry per domain, each image's own domain `y` `[n]` (64-bit
/// whole numbers): `[n, length]`.
pub(super) fn select_domain(per_domain: &[Tensor], y: &Tensor) -> Tensor {
    let stacked = Tensor::stack(per_domain, 1);
    let (n, domains, length) = stacked.size3().expect("one matrix per domain");
    let rows = Tensor::arange(n, (tch::Kind::Int64, y.device())) * domains + y;
    stacked
        .reshape([n * domains, length])
        .index_select(0, &rows)
}
