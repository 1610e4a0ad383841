//! FID Inception v3 (pytorch-fid's `fid_inception_v3`): pool3 features. State-dict names are torchvision's.

use crate::layers::{BatchNorm, Conv2d, ConvNorm, ConvOptions};
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// The network has no numbers to choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InceptionConfig {}

/// Length of a feature vector.
pub const FEATURES: i64 = 2048;

/// Convolution without bias, batch normalisation (eps 1e-3), ReLU.
#[derive(Debug)]
struct Basic(ConvNorm);

/// Kernel height, width, stride, padding of height and width.
type Shape = (i64, i64, i64, i64, i64);
const POINT: Shape = (1, 1, 1, 0, 0);
const SAME3: Shape = (3, 3, 1, 1, 1);
const HALVE3: Shape = (3, 3, 2, 0, 0);

impl Basic {
    fn new(
        path: Path,
        inputs: i64,
        outputs: i64,
        (height, width, stride, pad_h, pad_w): Shape,
    ) -> Self {
        let options = ConvOptions {
            stride,
            ..ConvOptions::same(1).no_bias()
        };
        let conv = Conv2d::rectangular(
            &path / "conv",
            inputs,
            outputs,
            [height, width],
            [pad_h, pad_w],
            options,
        );
        Self(ConvNorm::new(
            conv,
            BatchNorm::new(&path / "bn", outputs, 1e-3),
        ))
    }
    fn forward(&self, x: &Tensor) -> Tensor {
        self.0.forward(x, false).relu_()
    }
}

/// What runs beside the convolution branches.
#[derive(Debug, Clone, Copy)]
enum Pool {
    /// 3x3, stride 1, padding left out of the count (pytorch-fid's difference to torchvision), then a 1x1 convolution.
    Average,
    /// 3x3, stride 1 (the last block), then a 1x1 convolution.
    Maximum,
    /// 3x3, stride 2, nothing behind.
    Halve,
}

/// One branch: a chain, whose end may split in two that are laid side by side.
#[derive(Debug)]
struct Branch {
    chain: Vec<Basic>,
    fork: Option<(Basic, Basic)>,
}

impl Branch {
    fn forward(&self, x: &Tensor) -> Tensor {
        let h = self
            .chain
            .iter()
            .fold(x.shallow_clone(), |h, c| c.forward(&h));
        match &self.fork {
            Some((a, b)) => Tensor::cat(&[a.forward(&h), b.forward(&h)], 1),
            None => h,
        }
    }
}

#[derive(Debug)]
struct Mixed {
    branches: Vec<Branch>,
    pool: Pool,
    projection: Option<Basic>,
}

impl Mixed {
    fn forward(&self, x: &Tensor) -> Tensor {
        let mut parts: Vec<Tensor> = self.branches.iter().map(|b| b.forward(x)).collect();
        let pooled = match self.pool {
            Pool::Average => x.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None),
            Pool::Maximum => x.max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false),
            Pool::Halve => x.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false),
        };
        parts.push(
            self.projection
                .as_ref()
                .map_or_else(|| pooled.shallow_clone(), |p| p.forward(&pooled)),
        );
        Tensor::cat(&parts, 1)
    }
}

/// A chain of named convolutions: (name, outputs, shape).
fn branch(
    path: &Path,
    inputs: i64,
    chain: &[(&str, i64, Shape)],
    fork: Option<[(&str, i64, Shape); 2]>,
) -> Branch {
    let mut channels = inputs;
    let mut build = |(name, outputs, shape): (&str, i64, Shape)| {
        let made = Basic::new(path / name, channels, outputs, shape);
        channels = outputs;
        made
    };
    let chain: Vec<Basic> = chain.iter().map(|c| build(*c)).collect();
    let fork = fork.map(|[a, b]| {
        (
            Basic::new(path / a.0, channels, a.1, a.2),
            Basic::new(path / b.0, channels, b.1, b.2),
        )
    });
    Branch { chain, fork }
}

fn mixed(path: &Path, inputs: i64, branches: Vec<Branch>, pool: Pool, projection: i64) -> Mixed {
    let projection =
        (projection > 0).then(|| Basic::new(path / "branch_pool", inputs, projection, POINT));
    Mixed {
        branches,
        pool,
        projection,
    }
}

/// Block A.
fn a(path: &Path, inputs: i64, projection: i64) -> Mixed {
    let branches = vec![
        branch(path, inputs, &[("branch1x1", 64, POINT)], None),
        branch(
            path,
            inputs,
            &[
                ("branch5x5_1", 48, POINT),
                ("branch5x5_2", 64, (5, 5, 1, 2, 2)),
            ],
            None,
        ),
        branch(
            path,
            inputs,
            &[
                ("branch3x3dbl_1", 64, POINT),
                ("branch3x3dbl_2", 96, SAME3),
                ("branch3x3dbl_3", 96, SAME3),
            ],
            None,
        ),
    ];
    mixed(path, inputs, branches, Pool::Average, projection)
}

/// Block B, which halves the resolution.
fn b(path: &Path, inputs: i64) -> Mixed {
    let branches = vec![
        branch(path, inputs, &[("branch3x3", 384, HALVE3)], None),
        branch(
            path,
            inputs,
            &[
                ("branch3x3dbl_1", 64, POINT),
                ("branch3x3dbl_2", 96, SAME3),
                ("branch3x3dbl_3", 96, HALVE3),
            ],
            None,
        ),
    ];
    mixed(path, inputs, branches, Pool::Halve, 0)
}

const WIDE: Shape = (1, 7, 1, 0, 3);
const TALL: Shape = (7, 1, 1, 3, 0);

/// Block C.
fn c(path: &Path, inputs: i64, inner: i64) -> Mixed {
    let dbl: Vec<(&str, i64, Shape)> = vec![
        ("branch7x7dbl_1", inner, POINT),
        ("branch7x7dbl_2", inner, TALL),
        ("branch7x7dbl_3", inner, WIDE),
        ("branch7x7dbl_4", inner, TALL),
        ("branch7x7dbl_5", 192, WIDE),
    ];
    let branches = vec![
        branch(path, inputs, &[("branch1x1", 192, POINT)], None),
        branch(
            path,
            inputs,
            &[
                ("branch7x7_1", inner, POINT),
                ("branch7x7_2", inner, WIDE),
                ("branch7x7_3", 192, TALL),
            ],
            None,
        ),
        branch(path, inputs, &dbl, None),
    ];
    mixed(path, inputs, branches, Pool::Average, 192)
}

/// Block D, which halves the resolution.
fn d(path: &Path, inputs: i64) -> Mixed {
    let long: Vec<(&str, i64, Shape)> = vec![
        ("branch7x7x3_1", 192, POINT),
        ("branch7x7x3_2", 192, WIDE),
        ("branch7x7x3_3", 192, TALL),
        ("branch7x7x3_4", 192, HALVE3),
    ];
    let branches = vec![
        branch(
            path,
            inputs,
            &[("branch3x3_1", 192, POINT), ("branch3x3_2", 320, HALVE3)],
            None,
        ),
        branch(path, inputs, &long, None),
    ];
    mixed(path, inputs, branches, Pool::Halve, 0)
}

/// Block E.
fn e(path: &Path, inputs: i64, pool: Pool) -> Mixed {
    let (wide, tall) = ((1, 3, 1, 0, 1), (3, 1, 1, 1, 0));
    let branches = vec![
        branch(path, inputs, &[("branch1x1", 320, POINT)], None),
        branch(
            path,
            inputs,
            &[("branch3x3_1", 384, POINT)],
            Some([("branch3x3_2a", 384, wide), ("branch3x3_2b", 384, tall)]),
        ),
        branch(
            path,
            inputs,
            &[
                ("branch3x3dbl_1", 448, POINT),
                ("branch3x3dbl_2", 384, SAME3),
            ],
            Some([
                ("branch3x3dbl_3a", 384, wide),
                ("branch3x3dbl_3b", 384, tall),
            ]),
        ),
    ];
    mixed(path, inputs, branches, pool, 192)
}

/// The network up to its mean pool; weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct Inception {
    stem: Vec<Basic>,
    mixed: Vec<Mixed>,
}

impl Inception {
    /// Registers all weights under `path`, the unused classifier head included, as the published file has it.
    pub fn new(path: &Path, _: &InceptionConfig) -> anyhow::Result<Self> {
        let stem = [
            ("Conv2d_1a_3x3", 3, 32, HALVE3),
            ("Conv2d_2a_3x3", 32, 32, (3, 3, 1, 0, 0)),
            ("Conv2d_2b_3x3", 32, 64, SAME3),
            ("Conv2d_3b_1x1", 64, 80, POINT),
            ("Conv2d_4a_3x3", 80, 192, (3, 3, 1, 0, 0)),
        ];
        let _ = crate::layers::Linear::new(path / "fc", FEATURES, 1008);
        Ok(Self {
            stem: stem
                .map(|(name, inputs, outputs, shape)| {
                    Basic::new(path / name, inputs, outputs, shape)
                })
                .into(),
            mixed: vec![
                a(&(path / "Mixed_5b"), 192, 32),
                a(&(path / "Mixed_5c"), 256, 64),
                a(&(path / "Mixed_5d"), 288, 64),
                b(&(path / "Mixed_6a"), 288),
                c(&(path / "Mixed_6b"), 768, 128),
                c(&(path / "Mixed_6c"), 768, 160),
                c(&(path / "Mixed_6d"), 768, 160),
                c(&(path / "Mixed_6e"), 768, 192),
                d(&(path / "Mixed_7a"), 768),
                e(&(path / "Mixed_7b"), 1280, Pool::Average),
                e(&(path / "Mixed_7c"), 2048, Pool::Maximum),
            ],
        })
    }

    /// Pictures `[n, 3, h, w]` in [0, 1] of any size to pool3 features `[n, 2048]` in float32; resizes to 299
    /// (bilinear, corners not aligned) and maps to [-1, 1] itself.
    pub fn features(&self, x: &Tensor, kind: Kind) -> Tensor {
        let x = x.upsample_bilinear2d([299, 299], false, None, None) * 2.0 - 1.0;
        self.normalised(&x, kind)
    }

    /// The same for 299 x 299 pictures that are in the network's own range already.
    pub fn normalised(&self, x: &Tensor, kind: Kind) -> Tensor {
        let mut h = crate::layers::channels_last(&x.to_kind(kind));
        for (i, conv) in self.stem.iter().enumerate() {
            h = conv.forward(&h);
            if i == 2 || i == 4 {
                h = h.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false);
            }
        }
        let h = self.mixed.iter().fold(h, |h, m| m.forward(&h));
        h.to_kind(Kind::Float)
            .mean_dim([2i64, 3].as_slice(), false, Kind::Float)
    }
}
