//! Building blocks of the ADM networks (Dhariwal & Nichol 2021), names and order as in guided-diffusion's `unet.py`.

use crate::cpu::bf16;
use crate::gradient::{Pullback, by_autograd, chained};
use crate::layers::{Conv2d, ConvOptions, GroupNorm, Linear, Pointwise};
use tch::nn::Path;
use tch::{Kind, Tensor};

pub(crate) fn group_norm(path: Path, channels: i64) -> GroupNorm {
    GroupNorm::new(path, channels, 32, 1e-5)
}

/// How a residual block or a layer between levels changes the size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Resample {
    Keep,
    Down,
    Up,
}

impl Resample {
    pub(crate) fn apply(self, x: &Tensor) -> Tensor {
        let size = x.size();
        match self {
            Self::Keep => x.shallow_clone(),
            Self::Down => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>),
            Self::Up => x.upsample_nearest2d([size[2] * 2, size[3] * 2], None, None),
        }
    }

    /// The gradient of an input from that of its output.
    fn backward(self, gradient: &Tensor) -> Tensor {
        match self {
            Self::Keep => gradient.shallow_clone(),
            Self::Down => Self::Up.apply(gradient) * 0.25,
            Self::Up => Self::Down.apply(gradient) * 4.0,
        }
    }
}

/// What one residual block needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResBlockSpec {
    pub inputs: i64,
    pub outputs: i64,
    pub emb: i64,
    pub scale_shift: bool,
    pub resample: Resample,
    pub dropout: f64,
}

/// `ResBlock`: norm, SiLU, (resample,) conv; the time embedding scales and shifts the second norm; conv; skip.
#[derive(Debug)]
pub(crate) struct ResBlock {
    in_norm: GroupNorm,
    in_conv: Conv2d,
    emb: Linear,
    out_norm: GroupNorm,
    out_conv: Conv2d,
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
        let skip = || {
            Conv2d::new(
                &path / "skip_connection",
                inputs,
                outputs,
                ConvOptions::same(1),
            )
        };
        Self {
            in_norm: group_norm(&path / "in_layers" / 0, inputs),
            in_conv: Conv2d::new(&path / "in_layers" / 2, inputs, outputs, same),
            emb: Linear::new(&path / "emb_layers" / 1, spec.emb, emb_outputs),
            out_norm: group_norm(&path / "out_layers" / 0, outputs),
            out_conv: Conv2d::new(&path / "out_layers" / 3, outputs, outputs, same.zero()),
            skip: (inputs != outputs).then(skip),
            spec,
        }
    }

    fn forward(&self, x: &Tensor, emb: &Tensor, train: bool) -> Tensor {
        let h = self.in_norm.forward_silu(x, None);
        let h = self.in_conv.forward(&self.spec.resample.apply(&h));
        let x = self.spec.resample.apply(x);
        let e = self.emb.forward(&emb.silu());
        let h = if self.spec.scale_shift {
            self.out_norm.forward_silu(&h, Some(&e))
        } else {
            self.out_norm
                .forward_silu(&(h + e.unsqueeze(-1).unsqueeze(-1)), None)
        };
        let h = if train && self.spec.dropout > 0.0 {
            h.dropout(self.spec.dropout, true)
        } else {
            h
        };
        let skip = self
            .skip
            .as_ref()
            .map_or_else(|| x.shallow_clone(), |s| s.forward(&x));
        self.out_conv.forward_onto(&h, &skip)
    }

    fn pullback(&self, x: &Tensor, emb: &Tensor) -> (Tensor, Pullback<'_>) {
        let resample = self.spec.resample;
        let Some((h, in_norm)) = self
            .in_norm
            .pullback_silu(x, None)
            .filter(|_| self.spec.scale_shift)
        else {
            return by_autograd(x, |x| self.forward(x, emb, false));
        };
        let h = self.in_conv.forward(&resample.apply(&h));
        let e = self.emb.forward(&emb.silu());
        let (h, out_norm) = self
            .out_norm
            .pullback_silu(&h, Some(&e))
            .expect("the first norm was possible");
        let small = resample.apply(x);
        let skip = self
            .skip
            .as_ref()
            .map_or_else(|| small.shallow_clone(), |s| s.forward(&small));
        let out = self.out_conv.forward_onto(&h, &skip);
        let back = move |g: &Tensor| {
            let inner = in_norm(
                &resample.backward(&self.in_conv.backward(&out_norm(&self.out_conv.backward(g)))),
            );
            inner
                + resample.backward(
                    &self
                        .skip
                        .as_ref()
                        .map_or_else(|| g.shallow_clone(), |s| s.backward(g)),
                )
        };
        (out, Box::new(back))
    }
}

/// libtorch's fused attention, in float32 where the processor lacks bf16.
pub(crate) fn scaled_dot_product(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    if bf16::lacks(q) {
        return bf16::through_float32(q, |q| {
            scaled_dot_product(q, &k.to_kind(Kind::Float), &v.to_kind(Kind::Float))
        });
    }
    Tensor::scaled_dot_product_attention(q, k, v, None::<Tensor>, 0.0, false, None, false)
}

/// Attention weights and weighted values: q, k, v `[n * heads, width, length]`; q and k scaled by width^(-1/4) each.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let scale = (q.size()[1] as f64).powf(-0.25);
    let logits = (q * scale).transpose(1, 2).bmm(&(k * scale));
    let weight = logits.softmax(-1, Kind::Float).to_kind(v.kind());
    v.bmm(&weight.transpose(1, 2))
}

/// `AttentionBlock` with the "legacy" order: heads are split first, then q, k, v inside each head.
#[derive(Debug)]
pub(crate) struct AttentionBlock {
    norm: GroupNorm,
    qkv: Pointwise,
    proj_out: Pointwise,
    heads: i64,
}

impl AttentionBlock {
    fn new(path: Path, channels: i64, head_channels: i64) -> Self {
        Self {
            norm: group_norm(&path / "norm", channels),
            qkv: Pointwise::new(&path / "qkv", channels, 3 * channels, false),
            proj_out: Pointwise::new(&path / "proj_out", channels, channels, true),
            heads: channels / head_channels,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let (n, c, h, w) = x.size4().expect("attention input has four dimensions");
        let tokens = self
            .norm
            .forward(x)
            .permute([0, 2, 3, 1])
            .reshape([n, h * w, c]);
        let qkv = self
            .qkv
            .of_tokens(&tokens)
            .reshape([n, h * w, self.heads, 3, c / self.heads])
            .permute([3, 0, 2, 1, 4]);
        let (q, k, v) = (qkv.select(0, 0), qkv.select(0, 1), qkv.select(0, 2));
        let a = scaled_dot_product(&q, &k, &v);
        let a = self
            .proj_out
            .of_tokens(&a.transpose(1, 2).reshape([n, h * w, c]));
        x + a.reshape([n, h, w, c]).permute([0, 3, 1, 2])
    }
}

/// `AttentionPool2d`: a mean token in front, learned positions; q, k, v are split first, then heads; the token is returned.
#[derive(Debug)]
pub(crate) struct AttentionPool {
    positional_embedding: Tensor,
    qkv_proj: Pointwise,
    c_proj: Pointwise,
    heads: i64,
}

impl AttentionPool {
    pub(crate) fn new(
        path: Path,
        side: i64,
        channels: i64,
        head_channels: i64,
        outputs: i64,
    ) -> Self {
        let init = tch::nn::Init::Randn {
            mean: 0.0,
            stdev: (channels as f64).powf(-0.5),
        };
        Self {
            positional_embedding: path.var(
                "positional_embedding",
                &[channels, side * side + 1],
                init,
            ),
            qkv_proj: Pointwise::new(&path / "qkv_proj", channels, 3 * channels, false),
            c_proj: Pointwise::new(&path / "c_proj", channels, outputs, false),
            heads: channels / head_channels,
        }
    }

    /// `[n, c, side, side]` to `[n, outputs]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let (n, c, h, w) = x.size4().expect("pool input has four dimensions");
        let flat = x.reshape([n, c, h * w]);
        let mean = flat.mean_dim(-1, true, flat.kind());
        let tokens = Tensor::cat(&[mean, flat], -1)
            + self.positional_embedding.to_kind(x.kind()).unsqueeze(0);
        let qkv = self.qkv_proj.forward(&tokens).chunk(3, 1);
        let split = |p: &Tensor| p.reshape([n * self.heads, c / self.heads, h * w + 1]);
        let a =
            attend(&split(&qkv[0]), &split(&qkv[1]), &split(&qkv[2])).reshape([n, c, h * w + 1]);
        self.c_proj.forward(&a).select(-1, 0)
    }
}

#[derive(Debug)]
enum Layer {
    Conv(Conv2d),
    Res(Box<ResBlock>),
    Attention(AttentionBlock),
    /// The plain convolution between levels when `resblock_updown` is off; the resampling comes first when upwards.
    Resample(Resample, Conv2d),
}

/// `TimestepEmbedSequential`: layers named `0`, `1`, ... under one path.
#[derive(Debug)]
pub(crate) struct Block(Vec<Layer>);

impl Block {
    pub(crate) fn forward(&self, x: &Tensor, emb: &Tensor, train: bool) -> Tensor {
        self.0
            .iter()
            .fold(x.shallow_clone(), |h, layer| match layer {
                Layer::Conv(conv) => conv.forward(&h),
                Layer::Res(block) => block.forward(&h, emb, train),
                Layer::Attention(block) => block.forward(&h),
                Layer::Resample(Resample::Up, conv) => conv.forward(&Resample::Up.apply(&h)),
                Layer::Resample(_, conv) => conv.forward(&h),
            })
    }

    fn pullback(&self, x: &Tensor, emb: &Tensor) -> (Tensor, Pullback<'_>) {
        let mut h = x.shallow_clone();
        let mut way: Vec<Pullback> = Vec::new();
        for layer in &self.0 {
            let (out, back): (Tensor, Pullback) = match layer {
                Layer::Conv(conv) => (conv.forward(&h), Box::new(|g| conv.backward(g))),
                Layer::Res(block) => block.pullback(&h, emb),
                Layer::Attention(block) => by_autograd(&h, |h| block.forward(h)),
                Layer::Resample(Resample::Up, conv) => {
                    by_autograd(&h, |h| conv.forward(&Resample::Up.apply(h)))
                }
                Layer::Resample(_, conv) => by_autograd(&h, |h| conv.forward(h)),
            };
            h = out;
            way.push(back);
        }
        (h, chained(way))
    }
}

/// What both ADM networks are made from.
#[derive(Debug, Clone)]
pub(crate) struct AdmShape {
    pub image_size: i64,
    pub width: i64,
    pub channel_mult: Vec<i64>,
    pub num_res_blocks: i64,
    pub attention_resolutions: Vec<i64>,
    pub num_head_channels: i64,
    pub scale_shift: bool,
    pub resblock_updown: bool,
    pub dropout: f64,
}

/// A level change: a resampling residual block, or the plain (convolution) layer.
fn resample_layer(path: Path, shape: &AdmShape, channels: i64, resample: Resample) -> Layer {
    if shape.resblock_updown {
        return Layer::Res(Box::new(ResBlock::new(
            path,
            shape.block(channels, channels, resample),
        )));
    }
    let same = ConvOptions::same(3);
    match resample {
        Resample::Down => {
            let conv = Conv2d::new(
                &path / "op",
                channels,
                channels,
                ConvOptions { stride: 2, ..same },
            );
            Layer::Resample(resample, conv)
        }
        _ => Layer::Resample(
            resample,
            Conv2d::new(&path / "conv", channels, channels, same),
        ),
    }
}

impl AdmShape {
    fn block(&self, inputs: i64, outputs: i64, resample: Resample) -> ResBlockSpec {
        let (emb, scale_shift, dropout) = (4 * self.width, self.scale_shift, self.dropout);
        ResBlockSpec {
            inputs,
            outputs,
            emb,
            scale_shift,
            resample,
            dropout,
        }
    }

    fn res(&self, path: Path, inputs: i64, outputs: i64) -> Layer {
        Layer::Res(Box::new(ResBlock::new(
            path,
            self.block(inputs, outputs, Resample::Keep),
        )))
    }

    fn attention_at(&self, side: i64) -> bool {
        self.attention_resolutions.contains(&side)
    }

    fn attention(&self, path: Path, channels: i64) -> Layer {
        Layer::Attention(AttentionBlock::new(path, channels, self.num_head_channels))
    }

    /// Wrong numbers, in one line each.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let levels = self.channel_mult.len() as u32;
        anyhow::ensure!(levels > 0, "channel_mult is empty");
        let step = 2i64.pow(levels - 1);
        anyhow::ensure!(
            self.image_size > 0 && self.image_size % step == 0,
            "image_size {} is not a multiple of {step}",
            self.image_size
        );
        for mult in &self.channel_mult {
            let c = self.width * mult;
            anyhow::ensure!(
                c > 0 && c % 32 == 0,
                "{c} channels (width {} x {mult}) do not split into 32 groups",
                self.width
            );
        }
        anyhow::ensure!(
            self.num_res_blocks > 0,
            "the number of residual blocks must be at least 1"
        );
        anyhow::ensure!(
            self.num_head_channels > 0,
            "num_head_channels must be at least 1"
        );
        Ok(())
    }
}

/// The downward half and the middle block; what the classifier and the U-Net share.
#[derive(Debug)]
pub(crate) struct Encoder {
    time_0: Linear,
    time_2: Linear,
    inputs: Vec<Block>,
    middle: Block,
    width: i64,
    /// Channels of each input block's output, for the skips.
    pub(crate) skips: Vec<i64>,
    pub(crate) channels: i64,
    pub(crate) side: i64,
}

impl Encoder {
    pub(crate) fn new(path: &Path, shape: &AdmShape) -> Self {
        let width = shape.width;
        let mut channels = width * shape.channel_mult[0];
        let mut side = shape.image_size;
        let blocks = path / "input_blocks";
        let first = Layer::Conv(Conv2d::new(
            &blocks / 0 / 0,
            3,
            channels,
            ConvOptions::same(3),
        ));
        let (mut inputs, mut skips) = (vec![Block(vec![first])], vec![channels]);
        for (level, mult) in shape.channel_mult.iter().enumerate() {
            for _ in 0..shape.num_res_blocks {
                let at = &blocks / inputs.len();
                let mut layers = vec![shape.res(&at / 0, channels, mult * width)];
                channels = mult * width;
                if shape.attention_at(side) {
                    layers.push(shape.attention(&at / 1, channels));
                }
                inputs.push(Block(layers));
                skips.push(channels);
            }
            if level + 1 < shape.channel_mult.len() {
                let at = &blocks / inputs.len() / 0;
                inputs.push(Block(vec![resample_layer(
                    at,
                    shape,
                    channels,
                    Resample::Down,
                )]));
                skips.push(channels);
                side /= 2;
            }
        }
        let mid = path / "middle_block";
        let middle = Block(vec![
            shape.res(&mid / 0, channels, channels),
            shape.attention(&mid / 1, channels),
            shape.res(&mid / 2, channels, channels),
        ]);
        let time_0 = Linear::new(path / "time_embed" / 0, width, 4 * width);
        let time_2 = Linear::new(path / "time_embed" / 2, 4 * width, 4 * width);
        Self {
            time_0,
            time_2,
            inputs,
            middle,
            width,
            skips,
            channels,
            side,
        }
    }

    /// Time embedding `[n, 4 * width]` in the networks' working kind.
    pub(crate) fn embed(&self, t: &Tensor, kind: Kind) -> Tensor {
        let e = crate::layers::timestep_embedding(t, self.width).to_kind(kind);
        self.time_2.forward(&self.time_0.forward(&e).silu())
    }

    /// The middle block's output, and the skips when `keep`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        emb: &Tensor,
        train: bool,
        keep: bool,
    ) -> (Tensor, Vec<Tensor>) {
        let mut h = x.shallow_clone();
        let mut skips = Vec::new();
        for block in &self.inputs {
            h = block.forward(&h, emb, train);
            if keep {
                skips.push(h.shallow_clone());
            }
        }
        (self.middle.forward(&h, emb, train), skips)
    }

    /// The middle block's output, and the way its gradient takes back to `x`.
    pub(crate) fn pullback(&self, x: &Tensor, emb: &Tensor) -> (Tensor, Pullback<'_>) {
        let mut h = x.shallow_clone();
        let mut way = Vec::new();
        for block in self.inputs.iter().chain([&self.middle]) {
            let (out, back) = block.pullback(&h, emb);
            h = out;
            way.push(back);
        }
        (h, chained(way))
    }
}

/// The upward half's blocks, and the channels of the last one.
pub(crate) fn decoder_blocks(
    path: &Path,
    shape: &AdmShape,
    encoder: &Encoder,
) -> (Vec<Block>, i64) {
    let mut skips = encoder.skips.clone();
    let (mut channels, mut side) = (encoder.channels, encoder.side);
    let root = path / "output_blocks";
    let mut blocks = Vec::new();
    for (level, mult) in shape.channel_mult.iter().enumerate().rev() {
        for i in 0..=shape.num_res_blocks {
            let at = &root / blocks.len();
            let skip = skips.pop().expect("one skip for each output block");
            let mut layers = vec![shape.res(&at / 0, channels + skip, mult * shape.width)];
            channels = mult * shape.width;
            if shape.attention_at(side) {
                layers.push(shape.attention(&at / 1, channels));
            }
            if level > 0 && i == shape.num_res_blocks {
                let index = layers.len();
                layers.push(resample_layer(&at / index, shape, channels, Resample::Up));
                side *= 2;
            }
            blocks.push(Block(layers));
        }
    }
    (blocks, channels)
}
