//! A small CIFAR-10 classifier whose pooled features stand in for Inception's at 32 px.

use crate::layers::{BatchNorm, Conv2d, ConvNorm, ConvOptions, Linear, channels_last};
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Mean and standard deviation of CIFAR-10's training pixels in [0, 1], per channel.
pub const CIFAR_MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
/// See [`CIFAR_MEAN`].
pub const CIFAR_STD: [f32; 3] = [0.2470, 0.2435, 0.2616];

/// Widths of the four stages and of the feature vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarFeaturesConfig {
    pub widths: [i64; 4],
    pub feature_dim: i64,
    pub num_classes: i64,
}

#[derive(Debug)]
struct ConvBn(ConvNorm);

impl ConvBn {
    fn new(path: Path, inputs: i64, outputs: i64, kernel: i64) -> Self {
        let conv = Conv2d::new(
            &path / "conv",
            inputs,
            outputs,
            ConvOptions::same(kernel).no_bias(),
        );
        Self(ConvNorm::new(
            conv,
            BatchNorm::new(&path / "bn", outputs, 1e-5),
        ))
    }
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.0.forward(x, train).relu()
    }
}

/// ResNet-9 of the DAWNBench entries, narrower, with a 1x1 convolution to `feature_dim` in front of the mean pool.
#[derive(Debug)]
pub struct CifarFeatures {
    stem: ConvBn,
    stages: Vec<(ConvBn, Option<(ConvBn, ConvBn)>)>,
    squeeze: ConvBn,
    head: Linear,
}

impl CifarFeatures {
    /// Registers all weights under `path`.
    pub fn new(path: &Path, config: &CifarFeaturesConfig) -> anyhow::Result<Self> {
        let [w0, w1, w2, w3] = config.widths;
        anyhow::ensure!(
            config.widths.iter().all(|w| *w > 0) && config.feature_dim > 0,
            "widths and feature_dim must be positive"
        );
        let stage = |i: usize, inputs, outputs, residual: bool| {
            let at = path / "stages" / i;
            let pair = |k: &str| ConvBn::new(&at / k, outputs, outputs, 3);
            (
                ConvBn::new(&at / "conv", inputs, outputs, 3),
                residual.then(|| (pair("res1"), pair("res2"))),
            )
        };
        Ok(Self {
            stem: ConvBn::new(path / "stem", 3, w0, 3),
            stages: vec![
                stage(0, w0, w1, true),
                stage(1, w1, w2, false),
                stage(2, w2, w3, true),
            ],
            squeeze: ConvBn::new(path / "squeeze", w3, config.feature_dim, 1),
            head: Linear::new(path / "head", config.feature_dim, config.num_classes),
        })
    }

    /// Pictures `[n, 3, 32, 32]` in [0, 1] to features `[n, feature_dim]` in float32.
    pub fn features(&self, x: &Tensor, kind: Kind, train: bool) -> Tensor {
        let affine = |v: &[f32; 3]| {
            Tensor::from_slice(v)
                .to_device(x.device())
                .reshape([1, 3, 1, 1])
        };
        let x = (x - affine(&CIFAR_MEAN)) / affine(&CIFAR_STD);
        let mut h = self.stem.forward(&channels_last(&x.to_kind(kind)), train);
        for (conv, residual) in &self.stages {
            h = conv
                .forward(&h, train)
                .max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
            if let Some((a, b)) = residual {
                h = &h + b.forward(&a.forward(&h, train), train);
            }
        }
        self.squeeze
            .forward(&h, train)
            .to_kind(Kind::Float)
            .mean_dim([2i64, 3].as_slice(), false, Kind::Float)
    }

    /// Class logits `[n, num_classes]` of features.
    pub fn logits(&self, features: &Tensor) -> Tensor {
        self.head.forward(features)
    }
}
