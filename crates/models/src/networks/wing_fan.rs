//! The landmark network of the adaptive wing loss (Wang et al. 2019), from which StarGAN v2 makes
//! its masks of faces: one heat map per landmark.

use super::stargan_v2_blocks::{double, halve};
use crate::layers::{BatchNorm, Conv2d, ConvOptions, Mode};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Device, Kind, Tensor};

/// The network has no numbers to choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WingFanConfig {}

impl WingFanConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Side of the images that the network sees, in pixels.
const SIDE: i64 = 256;

/// Landmarks of a face.
pub const LANDMARKS: i64 = 98;

/// Channels of the hourglass.
const WIDTH: i64 = 256;

/// Halvings inside the hourglass.
const DEPTH: usize = 4;

/// Row, column and radius of each position.
const COORDINATES: i64 = 3;

fn batch_norm(path: Path, channels: i64) -> BatchNorm {
    BatchNorm::new(path, channels, 1e-5)
}

/// Batch normalisation by the stored statistics, then ReLU.
fn norm_relu(norm: &BatchNorm, x: &Tensor) -> Tensor {
    let out = norm.forward(&x.to_kind(Kind::Float), Mode::Eval).relu();
    out.to_kind(x.kind())
}

/// `x` `[n, c, h, w]` with three more channels: row and column from -1 to 1, and their distance to
/// the middle over the largest such distance.
fn with_coordinates(x: &Tensor) -> Tensor {
    let (n, _, height, width) = x.size4().expect("a feature map has four dimensions");
    let options = (Kind::Float, Device::Cpu);
    let row = Tensor::arange(height, options) / (height - 1) as f64 * 2.0 - 1.0;
    let column = Tensor::arange(width, options) / (width - 1) as f64 * 2.0 - 1.0;
    let row = row.unsqueeze(1).expand([height, width], false);
    let column = column.unsqueeze(0).expand([height, width], false);
    let radius = (row.square() + column.square()).sqrt();
    let radius = &radius / radius.max();
    let coordinates = Tensor::stack(&[row, column, radius], 0).unsqueeze(0);
    let coordinates = coordinates
        .expand([n, COORDINATES, height, width], false)
        .to_device(x.device())
        .to_kind(x.kind());
    Tensor::cat(&[x, &coordinates], 1)
}

/// Normalisation, ReLU, 3x3 convolution without bias.
#[derive(Debug)]
struct NormConv {
    norm: BatchNorm,
    conv: Conv2d,
}

impl NormConv {
    fn new(path: &Path, number: usize, inputs: i64, outputs: i64) -> Self {
        let options = ConvOptions::same(3).no_bias();
        Self {
            norm: batch_norm(path / format!("bn{number}"), inputs),
            conv: Conv2d::new(path / format!("conv{number}"), inputs, outputs, options),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.conv.forward(&norm_relu(&self.norm, x))
    }
}

/// Three convolutions in a chain, whose outputs are laid side by side and added to the input.
#[derive(Debug)]
struct Block {
    chain: [NormConv; 3],
    /// Fits the input to another width.
    downsample: Option<(BatchNorm, Conv2d)>,
}

impl Block {
    fn new(path: &Path, inputs: i64, outputs: i64) -> Self {
        let chain = [
            NormConv::new(path, 1, inputs, outputs / 2),
            NormConv::new(path, 2, outputs / 2, outputs / 4),
            NormConv::new(path, 3, outputs / 4, outputs / 4),
        ];
        let downsample = (inputs != outputs).then(|| {
            let at = path / "downsample";
            let options = ConvOptions::same(1).no_bias();
            let norm = batch_norm(&at / 0, inputs);
            (norm, Conv2d::new(&at / 2, inputs, outputs, options))
        });
        Self { chain, downsample }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let first = self.chain[0].forward(x);
        let second = self.chain[1].forward(&first);
        let third = self.chain[2].forward(&second);
        let joined = Tensor::cat(&[first, second, third], 1);
        match &self.downsample {
            Some((norm, conv)) => joined + conv.forward(&norm_relu(norm, x)),
            None => joined + x,
        }
    }
}

/// One level of the hourglass: a branch beside, and one through half the resolution.
#[derive(Debug)]
struct Level {
    beside: Block,
    down: Block,
    up: Block,
}

/// The hourglass behind its coordinates.
#[derive(Debug)]
struct Hourglass {
    coordconv: Conv2d,
    /// From the finest to the coarsest.
    levels: Vec<Level>,
    bottom: Block,
}

impl Hourglass {
    fn new(path: &Path) -> Self {
        let options = ConvOptions::same(1);
        let at = path / "coordconv" / "conv";
        let mut levels = Vec::new();
        for level in (1..=DEPTH).rev() {
            let [beside, down, up] = ["b1", "b2", "b3"]
                .map(|name| Block::new(&(path / format!("{name}_{level}")), WIDTH, WIDTH));
            levels.push(Level { beside, down, up });
        }
        Self {
            coordconv: Conv2d::new(at, WIDTH + COORDINATES, WIDTH, options),
            levels,
            bottom: Block::new(&(path / "b2_plus_1"), WIDTH, WIDTH),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_from(&self.levels, &self.coordconv.forward(&with_coordinates(x)))
    }

    fn forward_from(&self, levels: &[Level], x: &Tensor) -> Tensor {
        let Some((level, coarser)) = levels.split_first() else {
            return self.bottom.forward(x);
        };
        let low = level.down.forward(&halve(x));
        let low = level.up.forward(&self.forward_from(coarser, &low));
        level.beside.forward(x) + double(&low)
    }
}

/// The network; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct WingFan {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Block,
    conv3: Block,
    conv4: Block,
    hourglass: Hourglass,
    top: Block,
    conv_last: Conv2d,
    bn_end: BatchNorm,
    landmarks: Conv2d,
}

impl WingFan {
    pub(super) fn new(path: &Path, _: &WingFanConfig) -> Self {
        let (options, point) = (ConvOptions::same(7), ConvOptions::same(1));
        let halving = ConvOptions {
            stride: 2,
            ..options
        };
        let conv1 = path / "conv1" / "conv";
        Self {
            conv1: Conv2d::new(conv1, 3 + COORDINATES, 64, halving),
            bn1: batch_norm(path / "bn1", 64),
            conv2: Block::new(&(path / "conv2"), 64, 128),
            conv3: Block::new(&(path / "conv3"), 128, 128),
            conv4: Block::new(&(path / "conv4"), 128, WIDTH),
            hourglass: Hourglass::new(&(path / "m0")),
            top: Block::new(&(path / "top_m_0"), WIDTH, WIDTH),
            conv_last: Conv2d::new(path / "conv_last0", WIDTH, WIDTH, point),
            bn_end: batch_norm(path / "bn_end0", WIDTH),
            // The last map is the face's boundary, which nothing uses.
            landmarks: Conv2d::new(path / "l0", WIDTH, LANDMARKS + 1, point),
        }
    }

    /// Faces `x` `[n, 3, h, w]` in [-1, 1] to heat maps `[n, 98, 64, 64]` in float32. Images of
    /// another side than 256 are resized first. `kind` is the working precision.
    pub fn heatmaps(&self, x: &Tensor, kind: Kind) -> Tensor {
        let x = x.upsample_bilinear2d([SIDE, SIDE], false, None, None);
        let x = with_coordinates(&(x * 0.5 + 0.5).to_kind(kind));
        let h = norm_relu(&self.bn1, &self.conv1.forward(&x));
        let h = halve(&self.conv2.forward(&h));
        let h = self.conv4.forward(&self.conv3.forward(&h));
        let h = self.top.forward(&self.hourglass.forward(&h));
        let h = norm_relu(&self.bn_end, &self.conv_last.forward(&h));
        let maps = self.landmarks.forward(&h).narrow(1, 0, LANDMARKS);
        maps.to_kind(Kind::Float)
    }
}
