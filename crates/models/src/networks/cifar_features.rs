//! A small CIFAR-10 classifier whose pooled features take the place of Inception's at 32 px.

use super::Loaded;
use super::config::check_count;
use super::timing::timed;
use crate::layers::{BatchNorm, Conv2d, ConvNorm, ConvOptions, Linear, Mode, channels_last};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Mean of CIFAR-10's training pixels in [0, 1], per channel.
pub const CIFAR_MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
/// Standard deviation of CIFAR-10's training pixels in [0, 1], per channel.
pub const CIFAR_STD: [f32; 3] = [0.2470, 0.2435, 0.2616];

/// Numbers of the classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarFeaturesConfig {
    /// Channels of the stem and of the three stages.
    pub widths: [i64; 4],
    /// Length of a feature vector.
    pub feature_dim: i64,
    /// Classes that the head tells apart.
    pub num_classes: i64,
}

impl CifarFeaturesConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        for width in self.widths {
            check_count("a width", width, 1..=4096)?;
        }
        check_count("feature_dim", self.feature_dim, 1..=1 << 14)?;
        check_count("num_classes", self.num_classes, 1..=10_000)
    }
}

/// Convolution without bias, batch normalisation, ReLU.
#[derive(Debug)]
struct ConvNormRelu(ConvNorm);

impl ConvNormRelu {
    fn new(path: Path, inputs: i64, outputs: i64, side: i64) -> Self {
        let options = ConvOptions::same(side).no_bias();
        let conv = Conv2d::new(&path / "conv", inputs, outputs, options);
        Self(ConvNorm::new(
            conv,
            BatchNorm::new(&path / "bn", outputs, 1e-5),
        ))
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.0.forward(x, mode).relu()
    }
}

/// A convolution, a halving of the resolution and, in some stages, a residual block of two more
/// convolutions.
#[derive(Debug)]
struct Stage {
    conv: ConvNormRelu,
    residual: Option<[ConvNormRelu; 2]>,
}

impl Stage {
    fn new(path: Path, inputs: i64, outputs: i64) -> Self {
        Self {
            conv: ConvNormRelu::new(&path / "conv", inputs, outputs, 3),
            residual: None,
        }
    }

    fn with_residual(path: Path, inputs: i64, outputs: i64) -> Self {
        let conv = ConvNormRelu::new(&path / "conv", inputs, outputs, 3);
        let residual = ["res1", "res2"].map(|k| ConvNormRelu::new(&path / k, outputs, outputs, 3));
        Self {
            conv,
            residual: Some(residual),
        }
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let h = self
            .conv
            .forward(x, mode)
            .max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        match &self.residual {
            Some([first, second]) => &h + second.forward(&first.forward(&h, mode), mode),
            None => h,
        }
    }
}

/// ResNet-9 of the DAWNBench entries, narrower, with a 1x1 convolution to `feature_dim` in front of
/// the mean pool.
#[derive(Debug)]
pub struct CifarFeatures {
    stem: ConvNormRelu,
    stages: [Stage; 3],
    squeeze: ConvNormRelu,
    head: Linear,
}

impl CifarFeatures {
    pub(super) fn new(path: &Path, config: &CifarFeaturesConfig) -> Self {
        let [w0, w1, w2, w3] = config.widths;
        let stages = path / "stages";
        Self {
            stem: ConvNormRelu::new(path / "stem", 3, w0, 3),
            stages: [
                Stage::with_residual(&stages / 0, w0, w1),
                Stage::new(&stages / 1, w1, w2),
                Stage::with_residual(&stages / 2, w2, w3),
            ],
            squeeze: ConvNormRelu::new(path / "squeeze", w3, config.feature_dim, 1),
            head: Linear::new(path / "head", config.feature_dim, config.num_classes),
        }
    }

    /// Images `[n, 3, 32, 32]` in [0, 1] to features `[n, feature_dim]` in float32. `kind` is the
    /// working precision.
    pub fn features(&self, x: &Tensor, kind: Kind, mode: Mode) -> Tensor {
        let mean = Tensor::from_slice(&CIFAR_MEAN)
            .to_device(x.device())
            .reshape([1, 3, 1, 1]);
        let std = Tensor::from_slice(&CIFAR_STD)
            .to_device(x.device())
            .reshape([1, 3, 1, 1]);
        let x = (x - mean) / std;
        let mut h = self.stem.forward(&channels_last(&x.to_kind(kind)), mode);
        for stage in &self.stages {
            h = stage.forward(&h, mode);
        }
        let h = self.squeeze.forward(&h, mode).to_kind(Kind::Float);
        h.mean_dim([2i64, 3].as_slice(), false, Kind::Float)
    }

    /// Class logits `[n, num_classes]` of features.
    pub fn logits(&self, features: &Tensor) -> Tensor {
        self.head.forward(features)
    }
}

impl Loaded<CifarFeatures> {
    /// Features `[n, feature_dim]` of images `[n, 3, 32, 32]` in [0, 1].
    pub fn features(&self, x: &Tensor) -> Tensor {
        timed(x.device(), || self.net.features(x, self.kind, Mode::Eval))
    }
}
