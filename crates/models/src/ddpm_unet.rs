//! The DDPM U-Net that predicts the noise (ddim's `Model`; the published CelebA-HQ network).

use crate::adm::{Resample, scaled_dot_product};
use crate::layers::time::time_angles;
use crate::layers::{Conv2d, ConvOptions, GroupNorm, Linear};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of a DDPM U-Net, named as ddim's configuration files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DdpmUnetConfig {
    pub image_size: i64,
    pub ch: i64,
    pub ch_mult: Vec<i64>,
    pub num_res_blocks: i64,
    pub attn_resolutions: Vec<i64>,
    /// Convolutions in the up- and downsampling instead of plain pooling.
    pub resamp_with_conv: bool,
}

fn norm(path: Path, channels: i64) -> GroupNorm {
    GroupNorm::new(path, channels, 32, 1e-6)
}

#[derive(Debug)]
struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    temb_proj: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    fn new(path: &Path, inputs: i64, outputs: i64, emb: i64) -> Self {
        Self {
            norm1: norm(path / "norm1", inputs),
            conv1: Conv2d::new(path / "conv1", inputs, outputs, ConvOptions::same(3)),
            temb_proj: Linear::new(path / "temb_proj", emb, outputs),
            norm2: norm(path / "norm2", outputs),
            conv2: Conv2d::new(path / "conv2", outputs, outputs, ConvOptions::same(3)),
            shortcut: (inputs != outputs)
                .then(|| Conv2d::new(path / "nin_shortcut", inputs, outputs, ConvOptions::same(1))),
        }
    }

    /// `emb` has gone through its SiLU.
    fn forward(&self, x: &Tensor, emb: &Tensor) -> Tensor {
        let h = self.conv1.forward(&self.norm1.forward_silu(x, None));
        let h = h + self.temb_proj.forward(emb).unsqueeze(-1).unsqueeze(-1);
        let skip = self
            .shortcut
            .as_ref()
            .map_or_else(|| x.shallow_clone(), |c| c.forward(x));
        self.conv2
            .forward_onto(&self.norm2.forward_silu(&h, None), &skip)
    }
}

#[derive(Debug)]
struct Attention {
    norm: GroupNorm,
    q: Conv2d,
    k: Conv2d,
    v: Conv2d,
    proj_out: Conv2d,
}

impl Attention {
    fn new(path: &Path, channels: i64) -> Self {
        let point = |name: &str| Conv2d::new(path / name, channels, channels, ConvOptions::same(1));
        Self {
            norm: norm(path / "norm", channels),
            q: point("q"),
            k: point("k"),
            v: point("v"),
            proj_out: point("proj_out"),
        }
    }

    /// One head over all positions, scaled by C^(-1/2).
    fn forward(&self, x: &Tensor) -> Tensor {
        let (n, c, h, w) = x.size4().expect("pictures have four dimensions");
        let y = self.norm.forward(x);
        let rows = |conv: &Conv2d| conv.forward(&y).reshape([n, 1, c, h * w]).transpose(2, 3);
        let (q, k, v) = (rows(&self.q), rows(&self.k), rows(&self.v));
        let out = scaled_dot_product(&q, &k, &v);
        x + self
            .proj_out
            .forward(&out.transpose(2, 3).reshape([n, c, h, w]))
    }
}

/// A block and the attention behind it, where its resolution has one.
#[derive(Debug)]
struct Step {
    block: ResnetBlock,
    attention: Option<Attention>,
}

impl Step {
    fn forward(&self, x: &Tensor, emb: &Tensor) -> Tensor {
        let h = self.block.forward(x, emb);
        self.attention
            .as_ref()
            .map_or_else(|| h.shallow_clone(), |a| a.forward(&h))
    }
}

#[derive(Debug)]
struct Level {
    steps: Vec<Step>,
    /// Whether this level ends in a change of resolution, and its convolution if any.
    resample: Option<Option<Conv2d>>,
}

/// The network; weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct DdpmUnet {
    ch: i64,
    dense: [Linear; 2],
    conv_in: Conv2d,
    down: Vec<Level>,
    mid: (ResnetBlock, Attention, ResnetBlock),
    /// From the coarsest level to the finest.
    up: Vec<Level>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

struct Builder<'a> {
    path: &'a Path<'a>,
    config: &'a DdpmUnetConfig,
}

impl Builder<'_> {
    fn step(&self, at: &Path, i: usize, inputs: i64, outputs: i64, resolution: i64) -> Step {
        let attention = self
            .config
            .attn_resolutions
            .contains(&resolution)
            .then(|| Attention::new(&(at / "attn" / i), outputs));
        Step {
            block: ResnetBlock::new(&(at / "block" / i), inputs, outputs, 4 * self.config.ch),
            attention,
        }
    }

    /// Levels, channels of every skip, channels at the end.
    fn down(&self) -> (Vec<Level>, Vec<i64>, i64) {
        let c = self.config;
        let (mut channels, mut skips) = (c.ch, vec![c.ch]);
        let mut levels = Vec::new();
        for (l, mult) in c.ch_mult.iter().enumerate() {
            let at = self.path / "down" / l;
            let mut steps = Vec::new();
            for i in 0..c.num_res_blocks as usize {
                steps.push(self.step(&at, i, channels, c.ch * mult, c.image_size >> l));
                channels = c.ch * mult;
                skips.push(channels);
            }
            let resample = (l + 1 < c.ch_mult.len()).then(|| {
                skips.push(channels);
                let options = ConvOptions {
                    stride: 2,
                    padding: 0,
                    ..ConvOptions::same(3)
                };
                c.resamp_with_conv
                    .then(|| Conv2d::new(&at / "downsample" / "conv", channels, channels, options))
            });
            levels.push(Level { steps, resample });
        }
        (levels, skips, channels)
    }

    fn up(&self, mut skips: Vec<i64>, mut channels: i64) -> (Vec<Level>, i64) {
        let c = self.config;
        let mut levels = Vec::new();
        for (l, mult) in c.ch_mult.iter().enumerate().rev() {
            let at = self.path / "up" / l;
            let mut steps = Vec::new();
            for i in 0..=c.num_res_blocks as usize {
                let skip = skips.pop().expect("one skip for each block");
                steps.push(self.step(&at, i, channels + skip, c.ch * mult, c.image_size >> l));
                channels = c.ch * mult;
            }
            let conv = || {
                Conv2d::new(
                    &at / "upsample" / "conv",
                    channels,
                    channels,
                    ConvOptions::same(3),
                )
            };
            levels.push(Level {
                steps,
                resample: (l > 0).then(|| c.resamp_with_conv.then(conv)),
            });
        }
        (levels, channels)
    }
}

impl DdpmUnet {
    /// Registers all weights under `path`. Errors when the numbers do not fit together.
    pub fn new(path: &Path, config: &DdpmUnetConfig) -> Result<Self> {
        ensure!(
            config.ch > 0 && config.ch % 32 == 0,
            "ch is {}: must be a multiple of 32 (group normalisation)",
            config.ch
        );
        ensure!(
            !config.ch_mult.is_empty() && config.ch_mult.iter().all(|m| *m > 0),
            "ch_mult must hold positive numbers"
        );
        ensure!(
            config.num_res_blocks > 0,
            "num_res_blocks must be at least 1"
        );
        let halvings = config.ch_mult.len() - 1;
        ensure!(
            config.image_size > 0 && config.image_size % (1 << halvings) == 0,
            "image_size must be a multiple of {}",
            1 << halvings
        );
        let builder = Builder { path, config };
        let (down, skips, channels) = builder.down();
        let (mid, emb) = (path / "mid", 4 * config.ch);
        let block = |name: &str| ResnetBlock::new(&(&mid / name), channels, channels, emb);
        let middle = (
            block("block_1"),
            Attention::new(&(&mid / "attn_1"), channels),
            block("block_2"),
        );
        let (up, last) = builder.up(skips, channels);
        let dense = |i: usize, inputs| Linear::new(path / "temb" / "dense" / i, inputs, emb);
        Ok(Self {
            ch: config.ch,
            dense: [dense(0, config.ch), dense(1, emb)],
            conv_in: Conv2d::new(path / "conv_in", 3, config.ch, ConvOptions::same(3)),
            down,
            mid: middle,
            up,
            norm_out: norm(path / "norm_out", last),
            conv_out: Conv2d::new(path / "conv_out", last, 3, ConvOptions::same(3)),
        })
    }

    /// Time embedding [sin | cos], frequencies 10000^(-k/(half-1)), through its two layers and a SiLU.
    fn embed(&self, t: &Tensor, kind: Kind) -> Tensor {
        let half = self.ch / 2;
        let args = time_angles(t, half, half - 1);
        let emb = Tensor::cat(&[args.sin(), args.cos()], 1).to_kind(kind);
        self.dense[1]
            .forward(&self.dense[0].forward(&emb).silu())
            .silu()
    }

    /// Pictures `x` `[n, 3, s, s]` in [-1, 1] plus noise, time indices `t` `[n]` in 0..1000:
    /// the predicted noise `[n, 3, s, s]` in float32. `kind` is the working precision.
    pub fn forward(&self, x: &Tensor, t: &Tensor, kind: Kind) -> Tensor {
        let emb = self.embed(t, kind);
        let mut h = self.conv_in.forward(&x.to_kind(kind));
        let mut skips = vec![h.shallow_clone()];
        for level in &self.down {
            for step in &level.steps {
                h = step.forward(&h, &emb);
                skips.push(h.shallow_clone());
            }
            if let Some(conv) = &level.resample {
                h = match conv {
                    Some(conv) => conv.forward(&h.constant_pad_nd([0, 1, 0, 1])),
                    None => Resample::Down.apply(&h),
                };
                skips.push(h.shallow_clone());
            }
        }
        h = self
            .mid
            .2
            .forward(&self.mid.1.forward(&self.mid.0.forward(&h, &emb)), &emb);
        for level in &self.up {
            for step in &level.steps {
                let skip = skips.pop().expect("one skip for each block");
                h = step.forward(&Tensor::cat(&[h, skip], 1), &emb);
            }
            if let Some(conv) = &level.resample {
                let large = Resample::Up.apply(&h);
                h = conv
                    .as_ref()
                    .map_or_else(|| large.shallow_clone(), |c| c.forward(&large));
            }
        }
        self.conv_out
            .forward(&self.norm_out.forward_silu(&h, None))
            .to_kind(Kind::Float)
            .contiguous()
    }
}
