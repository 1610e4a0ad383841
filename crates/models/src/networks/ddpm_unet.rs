//! The DDPM U-Net, which predicts the noise (Ho et al. 2020; ddim's `Model`, of which the published
//! CelebA-HQ network is one).

use super::NoisePredictor;
use super::adm_blocks::Resample;
use super::attention::scaled_dot_product;
use crate::layers::time::time_angles;
use crate::layers::{Conv2d, ConvOptions, Embedding, GroupNorm, Linear};
use tch::nn::Path;
use tch::{Kind, Tensor};

pub use super::ddpm_unet_config::DdpmUnetConfig;

/// One variance per training step.
const LOGVAR_LENGTH: i64 = 1000;

fn group_norm(path: Path, channels: i64) -> GroupNorm {
    GroupNorm::with_eps(path, channels, 1e-6)
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
        let options = ConvOptions::same(3);
        Self {
            norm1: group_norm(path / "norm1", inputs),
            conv1: Conv2d::new(path / "conv1", inputs, outputs, options),
            temb_proj: Linear::new(path / "temb_proj", emb, outputs),
            norm2: group_norm(path / "norm2", outputs),
            conv2: Conv2d::new(path / "conv2", outputs, outputs, options),
            shortcut: (inputs != outputs)
                .then(|| Conv2d::new(path / "nin_shortcut", inputs, outputs, ConvOptions::same(1))),
        }
    }

    /// `emb` `[n or 1, emb]` has gone through its SiLU.
    fn forward(&self, x: &Tensor, emb: &Tensor) -> Tensor {
        let h = self.norm1.forward_silu(x, None);
        let e = self.temb_proj.forward(emb);
        let h = self
            .norm2
            .forward_silu_of(&self.conv1, &h, Embedding::Added(&e));
        let residual = match &self.shortcut {
            Some(conv) => conv.forward(x),
            None => x.shallow_clone(),
        };
        self.conv2.forward_add(&h, &residual)
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
        let options = ConvOptions::same(1);
        Self {
            norm: group_norm(path / "norm", channels),
            q: Conv2d::new(path / "q", channels, channels, options),
            k: Conv2d::new(path / "k", channels, channels, options),
            v: Conv2d::new(path / "v", channels, channels, options),
            proj_out: Conv2d::new(path / "proj_out", channels, channels, options),
        }
    }

    /// One head over all positions, scaled by `c^(-1/2)`, plus its input.
    fn forward(&self, x: &Tensor) -> Tensor {
        let (n, c, h, w) = x.size4().expect("attention input has four dimensions");
        let y = self.norm.forward(x);
        let [q, k, v] = [&self.q, &self.k, &self.v]
            .map(|conv| conv.forward(&y).reshape([n, 1, c, h * w]).transpose(2, 3));
        let out = scaled_dot_product(&q, &k, &v);
        x + self
            .proj_out
            .forward(&out.transpose(2, 3).reshape([n, c, h, w]))
    }
}

/// A residual block and the attention behind it, where its resolution has one.
#[derive(Debug)]
struct Block {
    resnet: ResnetBlock,
    attention: Option<Attention>,
}

impl Block {
    fn forward(&self, x: &Tensor, emb: &Tensor) -> Tensor {
        let h = self.resnet.forward(x, emb);
        match &self.attention {
            Some(attention) => attention.forward(&h),
            None => h,
        }
    }
}

/// How a level hands over to the next.
#[derive(Debug)]
enum Transition {
    /// It is the last level of its half, and its resolution stays.
    Last,
    /// Plain pooling or repetition.
    Plain,
    /// The same with a convolution.
    Convolved(Conv2d),
}

/// The blocks of one resolution.
#[derive(Debug)]
struct Level {
    blocks: Vec<Block>,
    transition: Transition,
}

/// What lies between the two halves.
#[derive(Debug)]
struct Middle {
    block_1: ResnetBlock,
    attention: Attention,
    block_2: ResnetBlock,
}

impl Middle {
    fn new(path: &Path, channels: i64, emb: i64) -> Self {
        Self {
            block_1: ResnetBlock::new(&(path / "block_1"), channels, channels, emb),
            attention: Attention::new(&(path / "attn_1"), channels),
            block_2: ResnetBlock::new(&(path / "block_2"), channels, channels, emb),
        }
    }

    fn forward(&self, x: &Tensor, emb: &Tensor) -> Tensor {
        let h = self.attention.forward(&self.block_1.forward(x, emb));
        self.block_2.forward(&h, emb)
    }
}

/// The network; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct DdpmUnet {
    ch: i64,
    dense: [Linear; 2],
    conv_in: Conv2d,
    /// From the finest level to the coarsest.
    down: Vec<Level>,
    middle: Middle,
    /// From the coarsest level to the finest.
    up: Vec<Level>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
    /// ddim's `logvar`, `[1000]`: kept with the weights, used by nothing.
    _logvar: Option<Tensor>,
}

/// Registers the levels of a network.
struct Builder<'a> {
    path: &'a Path<'a>,
    config: &'a DdpmUnetConfig,
}

/// The downward half as it was built.
struct DownHalf {
    levels: Vec<Level>,
    /// Channels of every skip, in the order in which they arise.
    skips: Vec<i64>,
    /// Channels of its output.
    channels: i64,
}

impl Builder<'_> {
    /// The `i`th block of level `level`, whose path is `at`.
    fn block(&self, at: &Path, level: usize, i: usize, inputs: i64, outputs: i64) -> Block {
        let side = self.config.image_size >> level;
        // The attention registers first: the order decides which random numbers a weight starts at.
        let attention = (self.config.attn_resolutions.contains(&side))
            .then(|| Attention::new(&(at / "attn" / i), outputs));
        let emb = 4 * self.config.ch;
        let resnet = ResnetBlock::new(&(at / "block" / i), inputs, outputs, emb);
        Block { resnet, attention }
    }

    fn down(&self) -> DownHalf {
        let config = self.config;
        let (mut channels, mut skips) = (config.ch, vec![config.ch]);
        let mut levels = Vec::new();
        for (level, mult) in config.ch_mult.iter().enumerate() {
            let at = self.path / "down" / level;
            let outputs = config.ch * mult;
            let mut blocks = Vec::new();
            for i in 0..config.num_res_blocks as usize {
                blocks.push(self.block(&at, level, i, channels, outputs));
                channels = outputs;
                skips.push(channels);
            }
            let mut transition = Transition::Last;
            if level + 1 < config.ch_mult.len() {
                skips.push(channels);
                // `forward` pads below and on the right only, as the reference does.
                let options = ConvOptions {
                    stride: 2,
                    padding: [0; 2],
                    ..ConvOptions::same(3)
                };
                transition = self.transition(&at / "downsample", channels, options);
            }
            levels.push(Level { blocks, transition });
        }
        DownHalf {
            levels,
            skips,
            channels,
        }
    }

    /// The upward half, and the channels of its output.
    fn up(&self, mut skips: Vec<i64>, mut channels: i64) -> (Vec<Level>, i64) {
        let config = self.config;
        let mut levels = Vec::new();
        for (level, mult) in config.ch_mult.iter().enumerate().rev() {
            let at = self.path / "up" / level;
            let outputs = config.ch * mult;
            let mut blocks = Vec::new();
            for i in 0..=config.num_res_blocks as usize {
                let skip = skips.pop().expect("one skip per block");
                blocks.push(self.block(&at, level, i, channels + skip, outputs));
                channels = outputs;
            }
            let mut transition = Transition::Last;
            if level > 0 {
                transition = self.transition(&at / "upsample", channels, ConvOptions::same(3));
            }
            levels.push(Level { blocks, transition });
        }
        (levels, channels)
    }

    fn transition(&self, path: Path, channels: i64, options: ConvOptions) -> Transition {
        if self.config.resamp_with_conv {
            Transition::Convolved(Conv2d::new(path / "conv", channels, channels, options))
        } else {
            Transition::Plain
        }
    }
}

impl DdpmUnet {
    pub(super) fn new(path: &Path, config: &DdpmUnetConfig) -> Self {
        let builder = Builder { path, config };
        let down = builder.down();
        let emb = 4 * config.ch;
        let middle = Middle::new(&(path / "mid"), down.channels, emb);
        let (up, channels) = builder.up(down.skips, down.channels);
        let dense = path / "temb" / "dense";
        let options = ConvOptions::same(3);
        Self {
            ch: config.ch,
            dense: [
                Linear::new(&dense / 0, config.ch, emb),
                Linear::new(&dense / 1, emb, emb),
            ],
            conv_in: Conv2d::new(path / "conv_in", 3, config.ch, options),
            down: down.levels,
            middle,
            up,
            norm_out: group_norm(path / "norm_out", channels),
            conv_out: Conv2d::new(path / "conv_out", channels, 3, options),
            _logvar: (config.has_logvar).then(|| path.zeros("logvar", &[LOGVAR_LENGTH])),
        }
    }

    /// Time embedding `[sin | cos]` with frequencies `10000^(-k/(half-1))`, through its two layers
    /// and a SiLU: `[n or 1, 4 * ch]`.
    fn embed(&self, t: &Tensor, kind: Kind) -> Tensor {
        let half = self.ch / 2;
        let angles = time_angles(t, half, half - 1);
        let emb = Tensor::cat(&[angles.sin(), angles.cos()], 1).to_kind(kind);
        self.dense[1]
            .forward(&self.dense[0].forward(&emb).silu())
            .silu()
    }

    /// Noised images `x` `[n, 3, s, s]` (clean images are in [-1, 1]) at time indices `t` `[n]` or
    /// `[1]` in 0..1000 to the predicted noise `[n, 3, s, s]` in float32. `kind` is the working
    /// precision.
    pub fn forward(&self, x: &Tensor, t: &Tensor, kind: Kind) -> Tensor {
        let emb = self.embed(t, kind);
        let mut h = self.conv_in.forward(&x.to_kind(kind));
        let mut skips = vec![h.shallow_clone()];
        for level in &self.down {
            for block in &level.blocks {
                h = block.forward(&h, &emb);
                skips.push(h.shallow_clone());
            }
            h = match &level.transition {
                Transition::Last => continue,
                Transition::Plain => Resample::Down.apply(&h),
                Transition::Convolved(conv) => conv.forward(&h.constant_pad_nd([0, 1, 0, 1])),
            };
            skips.push(h.shallow_clone());
        }
        h = self.middle.forward(&h, &emb);
        for level in &self.up {
            for block in &level.blocks {
                let skip = skips.pop().expect("one skip per block");
                h = block.forward(&Tensor::cat(&[h, skip], 1), &emb);
            }
            h = match &level.transition {
                Transition::Last => h,
                Transition::Plain => Resample::Up.apply(&h),
                Transition::Convolved(conv) => conv.forward(&Resample::Up.apply(&h)),
            };
        }
        let out = self.conv_out.forward(&self.norm_out.forward_silu(&h, None));
        out.to_kind(Kind::Float).contiguous()
    }
}

impl NoisePredictor for DdpmUnet {
    fn predict_noise(&self, x: &Tensor, t: &Tensor, kind: Kind) -> Tensor {
        self.forward(x, t, kind)
    }

    fn learns_sigma(_: &DdpmUnetConfig) -> bool {
        false
    }
}
