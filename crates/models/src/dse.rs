//! The domain-specific extractor: an ADM half-U-Net classifier of noised pictures
//! (guided-diffusion `EncoderUNetModel`; EGSDE names its head `I2Iout`).

use crate::adm::{AdmShape, AttentionPool, Encoder, group_norm};
use crate::gradient::Pullback;
use crate::layers::GroupNorm;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// How the head reduces positions; the published extractors use attention.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    Attention,
}

/// Numbers of an extractor, named as guided-diffusion's classifier flags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DseConfig {
    pub image_size: i64,
    pub classifier_width: i64,
    pub classifier_depth: i64,
    pub channel_mult: Vec<i64>,
    pub attention_resolutions: Vec<i64>,
    pub num_head_channels: i64,
    pub num_classes: i64,
    pub pool: Pool,
    pub use_scale_shift_norm: bool,
    pub resblock_updown: bool,
    /// Only while training.
    #[serde(default)]
    pub dropout: f64,
}

impl DseConfig {
    fn shape(&self) -> AdmShape {
        AdmShape {
            image_size: self.image_size,
            width: self.classifier_width,
            channel_mult: self.channel_mult.clone(),
            num_res_blocks: self.classifier_depth,
            attention_resolutions: self.attention_resolutions.clone(),
            num_head_channels: self.num_head_channels,
            scale_shift: self.use_scale_shift_norm,
            resblock_updown: self.resblock_updown,
            dropout: self.dropout,
        }
    }
}

/// The extractor.
#[derive(Debug)]
pub struct Dse {
    encoder: Encoder,
    head_norm: GroupNorm,
    head: AttentionPool,
}

impl Dse {
    /// Registers all weights under `path`. Errors when the numbers do not fit together.
    pub fn new(path: &Path, config: &DseConfig) -> anyhow::Result<Self> {
        let shape = config.shape();
        shape.check()?;
        anyhow::ensure!(config.num_classes > 1, "num_classes must be at least 2");
        let encoder = Encoder::new(path, &shape);
        let head = path / "I2Iout";
        let pool = AttentionPool::new(
            &head / 2,
            encoder.side,
            encoder.channels,
            shape.num_head_channels,
            config.num_classes,
        );
        Ok(Self {
            head_norm: group_norm(&head / 0, encoder.channels),
            head: pool,
            encoder,
        })
    }

    /// Feature map behind the middle block, `[n, c, s', s']` in float32.
    pub fn features(&self, x: &Tensor, t: &Tensor, kind: Kind, train: bool) -> Tensor {
        let emb = self.encoder.embed(t, kind);
        let x = x.to_kind(kind);
        self.encoder
            .forward(&x, &emb, train, false)
            .0
            .to_kind(Kind::Float)
    }

    /// [`Dse::features`] and the way its gradient takes back to `x`, both float32, without a graph where that is possible.
    pub fn pullback(&self, x: &Tensor, t: &Tensor, kind: Kind) -> (Tensor, Pullback<'_>) {
        let (features, back) = self
            .encoder
            .pullback(&x.to_kind(kind), &self.encoder.embed(t, kind));
        (
            features.to_kind(Kind::Float),
            Box::new(move |gradient| back(&gradient.to_kind(kind)).to_kind(Kind::Float)),
        )
    }

    /// Logits `[n, num_classes]` of a feature map, in float32.
    pub fn logits(&self, features: &Tensor, kind: Kind) -> Tensor {
        let h = self.head_norm.forward_silu(&features.to_kind(kind), None);
        self.head.forward(&h).to_kind(Kind::Float)
    }
}
