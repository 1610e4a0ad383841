//! Building blocks of the ADM networks (Dhariwal & Nichol 2021), names and order as in
//! guided-diffusion's `unet.py`.

use super::attention::{AttentionBlock, AttentionShape};
use super::config::has_attention;
use super::heads::Heads;
use crate::gradient::{Pullback, by_autograd, chained};
use crate::layers::{Conv2d, ConvOptions, Embedding, GroupNorm, Linear, Mode, timestep_embedding};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// How a residual block or a layer between levels changes the size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Resample {
    Keep,
    /// Half height and width, by the mean of 2x2 pixels.
    Down,
    /// Double height and width, by repetition.
    Up,
}

impl Resample {
    pub fn apply(self, x: &Tensor) -> Tensor {
        let size = x.size();
        match self {
            Self::Keep => x.shallow_clone(),
            Self::Down => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>),
            Self::Up => x.upsample_nearest2d([size[2] * 2, size[3] * 2], None, None),
        }
    }

    /// The gradient with respect to the input, given that with respect to the output.
    fn backward(self, gradient: &Tensor) -> Tensor {
        match self {
            Self::Keep => gradient.shallow_clone(),
            Self::Down => Self::Up.apply(gradient) * 0.25,
            Self::Up => Self::Down.apply(gradient) * 4.0,
        }
    }
}

/// Channels and options of a residual block.
#[derive(Debug, Clone, Copy)]
struct ResBlockSpec {
    inputs: i64,
    outputs: i64,
    /// Length of the time embedding.
    emb: i64,
    /// Whether the time embedding scales and shifts the second normalisation, or is added before
    /// it.
    scale_shift: bool,
    resample: Resample,
    dropout: f64,
}

/// `ResBlock`: norm, SiLU, (resampling,) convolution; norm with the time embedding, SiLU,
/// convolution; plus the input by way of `skip`.
#[derive(Debug)]
struct ResBlock {
    in_norm: GroupNorm,
    in_conv: Conv2d,
    emb: Linear,
    out_norm: GroupNorm,
    out_conv: Conv2d,
    /// The 1x1 convolution on the input, where the number of channels changes.
    skip: Option<Conv2d>,
    spec: ResBlockSpec,
}

impl ResBlock {
    fn new(path: Path, spec: ResBlockSpec) -> Self {
        let ResBlockSpec {
            inputs, outputs, ..
        } = spec;
        let same = ConvOptions::same(3);
        let emb_outputs = if spec.scale_shift {
            2 * outputs
        } else {
            outputs
        };
        Self {
            in_norm: GroupNorm::new(&path / "in_layers" / 0, inputs),
            in_conv: Conv2d::new(&path / "in_layers" / 2, inputs, outputs, same),
            emb: Linear::new(&path / "emb_layers" / 1, spec.emb, emb_outputs),
            out_norm: GroupNorm::new(&path / "out_layers" / 0, outputs),
            out_conv: Conv2d::new(&path / "out_layers" / 3, outputs, outputs, same.zero()),
            skip: (inputs != outputs).then(|| {
                Conv2d::new(
                    &path / "skip_connection",
                    inputs,
                    outputs,
                    ConvOptions::same(1),
                )
            }),
            spec,
        }
    }

    /// The resampled input as it is added to the output.
    fn skip(&self, resampled: &Tensor) -> Tensor {
        match &self.skip {
            Some(conv) => conv.forward(resampled),
            None => resampled.shallow_clone(),
        }
    }

    /// The gradient with respect to the resampled input by way of the skip.
    fn skip_backward(&self, gradient: &Tensor) -> Tensor {
        match &self.skip {
            Some(conv) => conv.backward(gradient),
            None => gradient.shallow_clone(),
        }
    }

    fn forward(&self, x: &Tensor, emb: &Tensor, mode: Mode) -> Tensor {
        let ResBlockSpec {
            resample,
            scale_shift,
            dropout,
            ..
        } = self.spec;
        let h = self.in_norm.forward_silu(x, None);
        let e = self.emb.forward(&emb.silu());
        let embedding = if scale_shift {
            Embedding::ScaleShift(&e)
        } else {
            Embedding::Added(&e)
        };
        let h = self
            .out_norm
            .forward_silu_of(&self.in_conv, &resample.apply(&h), embedding);
        let x = resample.apply(x);
        let drops = mode == Mode::Train && dropout > 0.0;
        let h = if drops { h.dropout(dropout, true) } else { h };
        self.out_conv.forward_add(&h, &self.skip(&x))
    }

    /// [`ResBlock::forward`] of a frozen block, and its pullback to `x`.
    fn pullback(&self, x: &Tensor, emb: &Tensor) -> (Tensor, Pullback<'_>) {
        let resample = self.spec.resample;
        let first_norm = self
            .in_norm
            .pullback_silu(x, None)
            .filter(|_| self.spec.scale_shift);
        let Some((h, in_norm_back)) = first_norm else {
            return by_autograd(x, |x| self.forward(x, emb, Mode::Eval));
        };
        let e = self.emb.forward(&emb.silu());
        let out_norm = self.out_norm.pullback_silu_of(
            &self.in_conv,
            &resample.apply(&h),
            Embedding::ScaleShift(&e),
        );
        let Some((h, out_norm_back)) = out_norm else {
            // A GPU's driver may refuse the kernel from here on.
            return by_autograd(x, |x| self.forward(x, emb, Mode::Eval));
        };
        let out = self
            .out_conv
            .forward_add(&h, &self.skip(&resample.apply(x)));
        let back = move |gradient: &Tensor| {
            let h = out_norm_back(&self.out_conv.backward(gradient));
            let inner = in_norm_back(&resample.backward(&self.in_conv.backward(&h)));
            inner + resample.backward(&self.skip_backward(gradient))
        };
        (out, Box::new(back))
    }
}

#[derive(Debug)]
enum Layer {
    Conv(Conv2d),
    Res(Box<ResBlock>),
    Attention(AttentionBlock),
    /// The convolution with stride 2 that halves the size where `resblock_updown` is off.
    Downsample(Conv2d),
    /// The repetition and convolution that double the size where `resblock_updown` is off.
    Upsample(Conv2d),
    /// What changes the size without weights, where `conv_resample` is off too.
    Resample(Resample),
}

impl Layer {
    fn forward(&self, x: &Tensor, emb: &Tensor, mode: Mode) -> Tensor {
        match self {
            Self::Conv(conv) | Self::Downsample(conv) => conv.forward(x),
            Self::Res(block) => block.forward(x, emb, mode),
            Self::Attention(block) => block.forward(x),
            Self::Upsample(conv) => conv.forward(&Resample::Up.apply(x)),
            Self::Resample(resample) => resample.apply(x),
        }
    }

    fn pullback(&self, x: &Tensor, emb: &Tensor) -> (Tensor, Pullback<'_>) {
        match self {
            Self::Conv(conv) => (
                conv.forward(x),
                Box::new(|gradient| conv.backward(gradient)),
            ),
            Self::Res(block) => block.pullback(x, emb),
            Self::Resample(resample) => (
                resample.apply(x),
                Box::new(|gradient| resample.backward(gradient)),
            ),
            Self::Attention(_) | Self::Downsample(_) | Self::Upsample(_) => {
                by_autograd(x, |x| self.forward(x, emb, Mode::Eval))
            }
        }
    }
}

/// `TimestepEmbedSequential`: layers named `0`, `1`, ... under one path.
#[derive(Debug)]
pub(super) struct Block(Vec<Layer>);

impl Block {
    pub fn forward(&self, x: &Tensor, emb: &Tensor, mode: Mode) -> Tensor {
        let mut h = x.shallow_clone();
        for layer in &self.0 {
            h = layer.forward(&h, emb, mode);
        }
        h
    }

    fn pullback(&self, x: &Tensor, emb: &Tensor) -> (Tensor, Pullback<'_>) {
        let mut h = x.shallow_clone();
        let mut pullbacks = Vec::new();
        for layer in &self.0 {
            let (out, back) = layer.pullback(&h, emb);
            h = out;
            pullbacks.push(back);
        }
        (h, chained(pullbacks))
    }
}

/// The numbers that both ADM networks are made from.
#[derive(Debug, Clone)]
pub(super) struct AdmShape {
    pub image_size: i64,
    pub width: i64,
    /// Channels of every level, the finest first.
    pub level_channels: Vec<i64>,
    pub num_res_blocks: i64,
    pub attention_resolutions: Vec<i64>,
    pub heads: Heads,
    /// Heads in the upward half.
    pub heads_upsample: Heads,
    /// Whether queries, keys and values are split before the heads.
    pub new_attention_order: bool,
    pub scale_shift: bool,
    pub resblock_updown: bool,
    pub conv_resample: bool,
    pub dropout: f64,
}

impl AdmShape {
    fn res_block(&self, path: Path, inputs: i64, outputs: i64, resample: Resample) -> Layer {
        let (emb, scale_shift, dropout) = (4 * self.width, self.scale_shift, self.dropout);
        let spec = ResBlockSpec {
            inputs,
            outputs,
            emb,
            scale_shift,
            resample,
            dropout,
        };
        Layer::Res(Box::new(ResBlock::new(path, spec)))
    }

    fn has_attention_at(&self, side: i64) -> bool {
        has_attention(&self.attention_resolutions, self.image_size, side)
    }

    fn attention(&self, path: Path, channels: i64, heads: Heads) -> Layer {
        let shape = AttentionShape {
            channels,
            heads: heads.count(channels),
            new_order: self.new_attention_order,
        };
        Layer::Attention(AttentionBlock::new(path, shape))
    }

    /// The layer that leads down to the next level.
    fn downsample(&self, path: Path, channels: i64) -> Layer {
        if self.resblock_updown {
            return self.res_block(path, channels, channels, Resample::Down);
        }
        if !self.conv_resample {
            return Layer::Resample(Resample::Down);
        }
        let options = ConvOptions {
            stride: 2,
            ..ConvOptions::same(3)
        };
        Layer::Downsample(Conv2d::new(&path / "op", channels, channels, options))
    }

    /// The layer that leads up to the next level.
    fn upsample(&self, path: Path, channels: i64) -> Layer {
        if self.resblock_updown {
            return self.res_block(path, channels, channels, Resample::Up);
        }
        if !self.conv_resample {
            return Layer::Resample(Resample::Up);
        }
        let options = ConvOptions::same(3);
        Layer::Upsample(Conv2d::new(&path / "conv", channels, channels, options))
    }
}

/// The time embedding, the downward half and the middle block: what classifier and U-Net share.
#[derive(Debug)]
pub(super) struct Encoder {
    time_0: Linear,
    time_2: Linear,
    inputs: Vec<Block>,
    middle: Block,
    width: i64,
    /// Channels of each input block's output, which is a skip of the U-Net.
    skip_channels: Vec<i64>,
    /// Channels of the middle block's output.
    pub channels: i64,
    /// Height and width of the middle block's output.
    pub side: i64,
}

impl Encoder {
    pub fn new(path: &Path, shape: &AdmShape) -> Self {
        let width = shape.width;
        let mut channels = shape.level_channels[0];
        let mut side = shape.image_size;
        let blocks = path / "input_blocks";
        let first = Conv2d::new(&blocks / 0 / 0, 3, channels, ConvOptions::same(3));
        let mut inputs = vec![Block(vec![Layer::Conv(first)])];
        let mut skip_channels = vec![channels];
        for (level, &outputs) in shape.level_channels.iter().enumerate() {
            for _ in 0..shape.num_res_blocks {
                let at = &blocks / inputs.len();
                let mut layers = vec![shape.res_block(&at / 0, channels, outputs, Resample::Keep)];
                channels = outputs;
                if shape.has_attention_at(side) {
                    layers.push(shape.attention(&at / 1, channels, shape.heads));
                }
                inputs.push(Block(layers));
                skip_channels.push(channels);
            }
            if level + 1 < shape.level_channels.len() {
                let at = &blocks / inputs.len() / 0;
                inputs.push(Block(vec![shape.downsample(at, channels)]));
                skip_channels.push(channels);
                side /= 2;
            }
        }
        let at = path / "middle_block";
        let middle = Block(vec![
            shape.res_block(&at / 0, channels, channels, Resample::Keep),
            shape.attention(&at / 1, channels, shape.heads),
            shape.res_block(&at / 2, channels, channels, Resample::Keep),
        ]);
        let time_0 = Linear::new(path / "time_embed" / 0, width, 4 * width);
        let time_2 = Linear::new(path / "time_embed" / 2, 4 * width, 4 * width);
        Self {
            time_0,
            time_2,
            inputs,
            middle,
            width,
            skip_channels,
            channels,
            side,
        }
    }

    /// Embeds times `t` `[n]` or `[1]`: `[n or 1, 4 * width]` in the networks' working kind.
    pub fn embed(&self, t: &Tensor, kind: Kind) -> Tensor {
        let e = timestep_embedding(t, self.width).to_kind(kind);
        self.time_2.forward(&self.time_0.forward(&e).silu())
    }

    /// The middle block's output.
    pub fn forward(&self, x: &Tensor, emb: &Tensor, mode: Mode) -> Tensor {
        let mut h = x.shallow_clone();
        for block in self.inputs.iter().chain([&self.middle]) {
            h = block.forward(&h, emb, mode);
        }
        h
    }

    /// The middle block's output, and the output of every input block in order.
    pub fn forward_with_skips(
        &self,
        x: &Tensor,
        emb: &Tensor,
        mode: Mode,
    ) -> (Tensor, Vec<Tensor>) {
        let mut h = x.shallow_clone();
        let mut skips = Vec::new();
        for block in &self.inputs {
            h = block.forward(&h, emb, mode);
            skips.push(h.shallow_clone());
        }
        (self.middle.forward(&h, emb, mode), skips)
    }

    /// [`Encoder::forward`] of a frozen network, and its pullback to `x`.
    pub fn pullback(&self, x: &Tensor, emb: &Tensor) -> (Tensor, Pullback<'_>) {
        let mut h = x.shallow_clone();
        let mut pullbacks = Vec::new();
        for block in self.inputs.iter().chain([&self.middle]) {
            let (out, back) = block.pullback(&h, emb);
            h = out;
            pullbacks.push(back);
        }
        (h, chained(pullbacks))
    }
}

/// Registers the blocks of the upward half; gives them and the channels of the last one.
pub(super) fn decoder_blocks(
    path: &Path,
    shape: &AdmShape,
    encoder: &Encoder,
) -> (Vec<Block>, i64) {
    let mut skip_channels = encoder.skip_channels.clone();
    let (mut channels, mut side) = (encoder.channels, encoder.side);
    let root = path / "output_blocks";
    let mut blocks = Vec::new();
    for (level, &outputs) in shape.level_channels.iter().enumerate().rev() {
        for i in 0..=shape.num_res_blocks {
            let at = &root / blocks.len();
            let skip = skip_channels.pop().expect("one skip per output block");
            let inputs = channels + skip;
            let mut layers = vec![shape.res_block(&at / 0, inputs, outputs, Resample::Keep)];
            channels = outputs;
            if shape.has_attention_at(side) {
                layers.push(shape.attention(&at / 1, channels, shape.heads_upsample));
            }
            if level > 0 && i == shape.num_res_blocks {
                let index = layers.len();
                layers.push(shape.upsample(&at / index, channels));
                side *= 2;
            }
            blocks.push(Block(layers));
        }
    }
    (blocks, channels)
}
