//! The Inception v3 of FID (pytorch-fid's `fid_inception_v3`) up to its pool3 features. State-dict
//! names are torchvision's.

use super::Loaded;
use super::timing::timed;
use crate::layers::{BatchNorm, Conv2d, ConvNorm, ConvOptions, Linear, Mode, channels_last};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// The network has no numbers to choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InceptionConfig {}

impl InceptionConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Length of a feature vector.
pub const FEATURES: i64 = 2048;

/// Classes of the published file's head, which nothing uses.
const CLASSES: i64 = 1008;

/// Kernel, stride and padding of a convolution.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Height and width.
    kernel: [i64; 2],
    stride: i64,
    /// Of height and width.
    padding: [i64; 2],
}

impl Shape {
    /// Stride 1 and padding that keeps the size.
    const fn same(height: i64, width: i64) -> Self {
        Self {
            kernel: [height, width],
            stride: 1,
            padding: [height / 2, width / 2],
        }
    }
}

const POINT: Shape = Shape::same(1, 1);
const SAME_3X3: Shape = Shape::same(3, 3);
const SAME_5X5: Shape = Shape::same(5, 5);
const WIDE_3: Shape = Shape::same(1, 3);
const TALL_3: Shape = Shape::same(3, 1);
const WIDE_7: Shape = Shape::same(1, 7);
const TALL_7: Shape = Shape::same(7, 1);
/// Without padding.
const VALID_3X3: Shape = Shape {
    kernel: [3, 3],
    stride: 1,
    padding: [0, 0],
};
/// Without padding, half the size.
const HALVE_3X3: Shape = Shape {
    kernel: [3, 3],
    stride: 2,
    padding: [0, 0],
};

/// Name, output channels and shape of a convolution.
type Spec = (&'static str, i64, Shape);

/// Convolution without bias, batch normalisation (eps 1e-3), ReLU: torchvision's `BasicConv2d`.
#[derive(Debug)]
struct BasicConv(ConvNorm);

impl BasicConv {
    fn new(path: &Path, inputs: i64, (name, outputs, shape): Spec) -> Self {
        let Shape {
            kernel,
            stride,
            padding,
        } = shape;
        let options = ConvOptions {
            kernel,
            stride,
            padding,
            bias: false,
            zero: false,
        };
        let at = path / name;
        let conv = Conv2d::new(&at / "conv", inputs, outputs, options);
        Self(ConvNorm::new(
            conv,
            BatchNorm::new(&at / "bn", outputs, 1e-3),
        ))
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.0.forward(x, Mode::Eval).relu_()
    }
}

/// The pooling branch beside the convolution branches.
#[derive(Debug, Clone, Copy)]
enum Pool {
    /// 3x3, stride 1, the padding left out of the count (pytorch-fid's difference to torchvision),
    /// then a 1x1 convolution.
    Average,
    /// 3x3, stride 1 (the last block), then a 1x1 convolution.
    Maximum,
    /// 3x3, stride 2, no convolution.
    Halve,
}

/// One branch: convolutions in a chain, whose end may split in two that are laid side by side.
#[derive(Debug)]
struct Branch {
    chain: Vec<BasicConv>,
    fork: Option<[BasicConv; 2]>,
}

impl Branch {
    fn chain(path: &Path, inputs: i64, specs: &[Spec]) -> Self {
        let mut channels = inputs;
        let mut chain = Vec::new();
        for spec in specs {
            chain.push(BasicConv::new(path, channels, *spec));
            channels = spec.1;
        }
        Self { chain, fork: None }
    }

    fn forked(path: &Path, inputs: i64, specs: &[Spec], fork: [Spec; 2]) -> Self {
        let chain = Self::chain(path, inputs, specs).chain;
        let channels = specs.last().map_or(inputs, |spec| spec.1);
        Self {
            chain,
            fork: Some(fork.map(|spec| BasicConv::new(path, channels, spec))),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut h = x.shallow_clone();
        for conv in &self.chain {
            h = conv.forward(&h);
        }
        match &self.fork {
            Some([a, b]) => Tensor::cat(&[a.forward(&h), b.forward(&h)], 1),
            None => h,
        }
    }
}

/// An Inception block: branches whose outputs are laid side by side.
#[derive(Debug)]
struct Mixed {
    branches: Vec<Branch>,
    pool: Pool,
    projection: Option<BasicConv>,
}

impl Mixed {
    /// The convolution behind the pooling has `projection` output channels.
    fn projected(
        path: &Path,
        inputs: i64,
        branches: Vec<Branch>,
        pool: Pool,
        projection: i64,
    ) -> Self {
        let projection = BasicConv::new(path, inputs, ("branch_pool", projection, POINT));
        Self {
            branches,
            pool,
            projection: Some(projection),
        }
    }

    /// Halves the resolution.
    fn halving(branches: Vec<Branch>) -> Self {
        Self {
            branches,
            pool: Pool::Halve,
            projection: None,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut parts: Vec<Tensor> = self.branches.iter().map(|b| b.forward(x)).collect();
        let pooled = match self.pool {
            Pool::Average => x.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None),
            Pool::Maximum => x.max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false),
            Pool::Halve => x.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false),
        };
        parts.push(match &self.projection {
            Some(projection) => projection.forward(&pooled),
            None => pooled,
        });
        Tensor::cat(&parts, 1)
    }
}

/// torchvision's `InceptionA`.
fn block_a(path: &Path, inputs: i64, projection: i64) -> Mixed {
    let branches = vec![
        Branch::chain(path, inputs, &[("branch1x1", 64, POINT)]),
        Branch::chain(
            path,
            inputs,
            &[("branch5x5_1", 48, POINT), ("branch5x5_2", 64, SAME_5X5)],
        ),
        Branch::chain(
            path,
            inputs,
            &[
                ("branch3x3dbl_1", 64, POINT),
                ("branch3x3dbl_2", 96, SAME_3X3),
                ("branch3x3dbl_3", 96, SAME_3X3),
            ],
        ),
    ];
    Mixed::projected(path, inputs, branches, Pool::Average, projection)
}

/// torchvision's `InceptionB`, which halves the resolution.
fn block_b(path: &Path, inputs: i64) -> Mixed {
    Mixed::halving(vec![
        Branch::chain(path, inputs, &[("branch3x3", 384, HALVE_3X3)]),
        Branch::chain(
            path,
            inputs,
            &[
                ("branch3x3dbl_1", 64, POINT),
                ("branch3x3dbl_2", 96, SAME_3X3),
                ("branch3x3dbl_3", 96, HALVE_3X3),
            ],
        ),
    ])
}

/// torchvision's `InceptionC`; `inner` is its `channels_7x7`.
fn block_c(path: &Path, inputs: i64, inner: i64) -> Mixed {
    let branches = vec![
        Branch::chain(path, inputs, &[("branch1x1", 192, POINT)]),
        Branch::chain(
            path,
            inputs,
            &[
                ("branch7x7_1", inner, POINT),
                ("branch7x7_2", inner, WIDE_7),
                ("branch7x7_3", 192, TALL_7),
            ],
        ),
        Branch::chain(
            path,
            inputs,
            &[
                ("branch7x7dbl_1", inner, POINT),
                ("branch7x7dbl_2", inner, TALL_7),
                ("branch7x7dbl_3", inner, WIDE_7),
                ("branch7x7dbl_4", inner, TALL_7),
                ("branch7x7dbl_5", 192, WIDE_7),
            ],
        ),
    ];
    Mixed::projected(path, inputs, branches, Pool::Average, 192)
}

/// torchvision's `InceptionD`, which halves the resolution.
fn block_d(path: &Path, inputs: i64) -> Mixed {
    Mixed::halving(vec![
        Branch::chain(
            path,
            inputs,
            &[("branch3x3_1", 192, POINT), ("branch3x3_2", 320, HALVE_3X3)],
        ),
        Branch::chain(
            path,
            inputs,
            &[
                ("branch7x7x3_1", 192, POINT),
                ("branch7x7x3_2", 192, WIDE_7),
                ("branch7x7x3_3", 192, TALL_7),
                ("branch7x7x3_4", 192, HALVE_3X3),
            ],
        ),
    ])
}

/// torchvision's `InceptionE`.
fn block_e(path: &Path, inputs: i64, pool: Pool) -> Mixed {
    let branches = vec![
        Branch::chain(path, inputs, &[("branch1x1", 320, POINT)]),
        Branch::forked(
            path,
            inputs,
            &[("branch3x3_1", 384, POINT)],
            [("branch3x3_2a", 384, WIDE_3), ("branch3x3_2b", 384, TALL_3)],
        ),
        Branch::forked(
            path,
            inputs,
            &[
                ("branch3x3dbl_1", 448, POINT),
                ("branch3x3dbl_2", 384, SAME_3X3),
            ],
            [
                ("branch3x3dbl_3a", 384, WIDE_3),
                ("branch3x3dbl_3b", 384, TALL_3),
            ],
        ),
    ];
    Mixed::projected(path, inputs, branches, pool, 192)
}

/// The network up to its mean pool; its weights belong to the `VarStore` behind the path it was
/// built with.
#[derive(Debug)]
pub struct Inception {
    stem: Vec<BasicConv>,
    mixed: Vec<Mixed>,
}

/// The first convolutions, in a chain. A pooling stands behind the third and the fifth.
const STEM: [Spec; 5] = [
    ("Conv2d_1a_3x3", 32, HALVE_3X3),
    ("Conv2d_2a_3x3", 32, VALID_3X3),
    ("Conv2d_2b_3x3", 64, SAME_3X3),
    ("Conv2d_3b_1x1", 80, POINT),
    ("Conv2d_4a_3x3", 192, VALID_3X3),
];

impl Inception {
    pub(super) fn new(path: &Path, _: &InceptionConfig) -> Self {
        // The published file holds the classifier's head, so it must be registered.
        let _ = Linear::new(path / "fc", FEATURES, CLASSES);
        Self {
            stem: Branch::chain(path, 3, &STEM).chain,
            mixed: vec![
                block_a(&(path / "Mixed_5b"), 192, 32),
                block_a(&(path / "Mixed_5c"), 256, 64),
                block_a(&(path / "Mixed_5d"), 288, 64),
                block_b(&(path / "Mixed_6a"), 288),
                block_c(&(path / "Mixed_6b"), 768, 128),
                block_c(&(path / "Mixed_6c"), 768, 160),
                block_c(&(path / "Mixed_6d"), 768, 160),
                block_c(&(path / "Mixed_6e"), 768, 192),
                block_d(&(path / "Mixed_7a"), 768),
                block_e(&(path / "Mixed_7b"), 1280, Pool::Average),
                block_e(&(path / "Mixed_7c"), 2048, Pool::Maximum),
            ],
        }
    }

    /// Images `[n, 3, h, w]` in [0, 1] of any size to pool3 features `[n, 2048]` in float32. They
    /// are resized to 299 x 299 (bilinear, corners not aligned) and mapped to [-1, 1] first.
    pub fn features(&self, x: &Tensor, kind: Kind) -> Tensor {
        let x = x.upsample_bilinear2d([299, 299], false, None, None) * 2.0 - 1.0;
        self.features_of_normalised(&x, kind)
    }

    /// As [`Inception::features`], for 299 x 299 images in [-1, 1].
    pub fn features_of_normalised(&self, x: &Tensor, kind: Kind) -> Tensor {
        let mut h = channels_last(&x.to_kind(kind));
        for (i, conv) in self.stem.iter().enumerate() {
            h = conv.forward(&h);
            if i == 2 || i == 4 {
                h = h.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false);
            }
        }
        for block in &self.mixed {
            h = block.forward(&h);
        }
        h.to_kind(Kind::Float)
            .mean_dim([2i64, 3].as_slice(), false, Kind::Float)
    }
}

impl Loaded<Inception> {
    /// Pool3 features `[n, 2048]` of images `[n, 3, h, w]` in [0, 1], of any size.
    pub fn features(&self, x: &Tensor) -> Tensor {
        timed(x.device(), || self.net.features(x, self.kind))
    }
}
