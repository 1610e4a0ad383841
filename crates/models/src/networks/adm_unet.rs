//! The ADM U-Net, which predicts the noise (Dhariwal & Nichol 2021; guided-diffusion's
//! `UNetModel`).

use super::NoisePredictor;
use super::adm_blocks::{AdmShape, Block, Encoder, decoder_blocks};
use super::config::{UnetShape, check_heads};
use crate::layers::{Conv2d, ConvOptions, GroupNorm, Mode};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of an ADM U-Net, named as guided-diffusion's flags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmUnetConfig {
    /// Side of the square images in pixels.
    pub image_size: i64,
    /// Channels of the finest level, before its multiplier.
    pub num_channels: i64,
    /// One multiplier of `num_channels` per level, the finest first.
    pub channel_mult: Vec<i64>,
    /// Residual blocks per level.
    pub num_res_blocks: i64,
    /// Sides in pixels of the feature maps that have attention.
    pub attention_resolutions: Vec<i64>,
    /// Channels of an attention head.
    pub num_head_channels: i64,
    /// Six output channels instead of three; the last three steer the learned-range variance.
    pub learn_sigma: bool,
    /// Whether the time embedding scales and shifts a normalisation, or is only added.
    pub use_scale_shift_norm: bool,
    /// Whether residual blocks change the resolution, or plain layers do.
    pub resblock_updown: bool,
    /// Probability of a value to be dropped, in training only.
    #[serde(default)]
    pub dropout: f64,
}

impl AdmUnetConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        let shape = UnetShape {
            image_size: self.image_size,
            width: self.num_channels,
            multipliers: &self.channel_mult,
            blocks: self.num_res_blocks,
        };
        shape.check()?;
        check_heads(self.num_head_channels, self.num_channels)
    }

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

/// The network; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct AdmUnet {
    encoder: Encoder,
    decoder: Vec<Block>,
    out_norm: GroupNorm,
    out_conv: Conv2d,
}

impl AdmUnet {
    pub(super) fn new(path: &Path, config: &AdmUnetConfig) -> Self {
        let shape = config.shape();
        let encoder = Encoder::new(path, &shape);
        let (decoder, channels) = decoder_blocks(path, &shape, &encoder);
        let outputs = if config.learn_sigma { 6 } else { 3 };
        let options = ConvOptions::same(3).zero();
        let out_conv = Conv2d::new(path / "out" / 2, channels, outputs, options);
        Self {
            encoder,
            decoder,
            out_norm: GroupNorm::new(path / "out" / 0, channels),
            out_conv,
        }
    }

    /// Noised images `x` `[n, 3, s, s]` (clean images are in [-1, 1]) at time indices `t` `[n]` or
    /// `[1]` in 0..1000 to `[n, 3 or 6, s, s]` in float32; the first three channels are the
    /// predicted noise. `kind` is the working precision.
    pub fn forward(&self, x: &Tensor, t: &Tensor, kind: Kind, mode: Mode) -> Tensor {
        let emb = self.encoder.embed(t, kind);
        let x = x.to_kind(kind);
        let (mut h, mut skips) = self.encoder.forward_with_skips(&x, &emb, mode);
        for block in &self.decoder {
            let skip = skips.pop().expect("one skip per output block");
            h = block.forward(&Tensor::cat(&[h, skip], 1), &emb, mode);
        }
        let h = self.out_norm.forward_silu(&h, None);
        self.out_conv.forward(&h).to_kind(Kind::Float).contiguous()
    }
}

impl NoisePredictor for AdmUnet {
    fn predict_noise(&self, x: &Tensor, t: &Tensor, kind: Kind) -> Tensor {
        self.forward(x, t, kind, Mode::Eval)
    }

    fn learns_sigma(config: &AdmUnetConfig) -> bool {
        config.learn_sigma
    }
}
