//! The ADM U-Net that predicts the noise (guided-diffusion `UNetModel`).

use crate::adm::{AdmShape, Block, Encoder, decoder_blocks, group_norm};
use crate::layers::{Conv2d, ConvOptions, GroupNorm};
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of an ADM U-Net, named as guided-diffusion's flags; `attention_resolutions` are sizes in pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmUnetConfig {
    pub image_size: i64,
    pub num_channels: i64,
    pub channel_mult: Vec<i64>,
    pub num_res_blocks: i64,
    pub attention_resolutions: Vec<i64>,
    pub num_head_channels: i64,
    /// Six output channels instead of three; the last three steer the learned range variance.
    pub learn_sigma: bool,
    pub use_scale_shift_norm: bool,
    pub resblock_updown: bool,
    /// Only while training.
    #[serde(default)]
    pub dropout: f64,
}

impl AdmUnetConfig {
    fn shape(&self) -> AdmShape {
        AdmShape {
            image_size: self.image_size,
            width: self.num_channels,
            channel_mult: self.channel_mult.clone(),
            num_res_blocks: self.num_res_blocks,
            attention_resolutions: self.attention_resolutions.clone(),
            num_head_channels: self.num_head_channels,
            scale_shift: self.use_scale_shift_norm,
            resblock_updown: self.resblock_updown,
            dropout: self.dropout,
        }
    }
}

/// The network; weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct AdmUnet {
    encoder: Encoder,
    decoder: Vec<Block>,
    out_norm: GroupNorm,
    out_conv: Conv2d,
}

impl AdmUnet {
    /// Registers all weights under `path`. Errors when the numbers do not fit together.
    pub fn new(path: &Path, config: &AdmUnetConfig) -> anyhow::Result<Self> {
        let shape = config.shape();
        shape.check()?;
        let encoder = Encoder::new(path, &shape);
        let (decoder, channels) = decoder_blocks(path, &shape, &encoder);
        let outputs = if config.learn_sigma { 6 } else { 3 };
        let out_conv = Conv2d::new(
            path / "out" / 2,
            channels,
            outputs,
            ConvOptions::same(3).zero(),
        );
        Ok(Self {
            encoder,
            decoder,
            out_norm: group_norm(path / "out" / 0, channels),
            out_conv,
        })
    }

    /// Pictures `x` `[n, 3, s, s]` in [-1, 1] plus noise, time indices `t` `[n]` in 0..1000:
    /// `[n, 3 or 6, s, s]` in float32, the first three channels the predicted noise. `kind` is the working precision.
    pub fn forward(&self, x: &Tensor, t: &Tensor, kind: Kind, train: bool) -> Tensor {
        let emb = self.encoder.embed(t, kind);
        let x = x.to_kind(kind);
        let (mut h, mut skips) = self.encoder.forward(&x, &emb, train, true);
        for block in &self.decoder {
            let skip = skips.pop().expect("one skip for each output block");
            h = block.forward(&Tensor::cat(&[h, skip], 1), &emb, train);
        }
        let h = self.out_norm.forward_silu(&h, None);
        self.out_conv.forward(&h).to_kind(Kind::Float).contiguous()
    }
}
