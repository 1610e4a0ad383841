//! The domain-specific extractor: an ADM half U-Net that classifies noised images
//! (guided-diffusion's `EncoderUNetModel`; EGSDE names its head `I2Iout`).

use super::Loaded;
use super::adm_blocks::{AdmShape, Encoder};
use super::attention::AttentionPool;
use super::config::{UnetShape, check_count};
use super::heads::Heads;
use super::multipliers::{Multiplier, level_channels, multipliers};
use super::timing::timed;
use crate::cuda::is_fused;
use crate::gradient::{Pullback, gradient_of};
use crate::kernels::kernels_in_use;
use crate::layers::{GroupNorm, Mode};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// How the head reduces positions; the published extractors use attention.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// guided-diffusion's `AttentionPool2d`.
    Attention,
}

/// Numbers of an extractor, named as guided-diffusion's classifier flags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DseConfig {
    /// Side of the square images in pixels.
    pub image_size: i64,
    /// Channels of the finest level, before its multiplier.
    pub classifier_width: i64,
    /// Residual blocks per level.
    pub classifier_depth: i64,
    /// One multiplier of `classifier_width` per level, the finest first.
    #[serde(deserialize_with = "multipliers")]
    pub channel_mult: Vec<Multiplier>,
    /// Sides in pixels of the feature maps that have attention.
    pub attention_resolutions: Vec<i64>,
    /// Channels of an attention head.
    pub num_head_channels: i64,
    /// Classes that the head tells apart, at least two.
    pub num_classes: i64,
    /// How the head reduces positions.
    pub pool: Pool,
    /// Whether the time embedding scales and shifts a normalisation, or is only added.
    pub use_scale_shift_norm: bool,
    /// Whether residual blocks change the resolution, or plain layers do.
    pub resblock_updown: bool,
    /// Probability of a value to be dropped, in training only.
    #[serde(default)]
    pub dropout: f64,
}

impl DseConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        let shape = UnetShape {
            image_size: self.image_size,
            width: self.classifier_width,
            channels: self.level_channels(),
            blocks: self.classifier_depth,
        };
        shape.check()?;
        let layers = shape.attention_channels(&self.attention_resolutions)?;
        self.heads().check(&layers)?;
        check_count("num_classes", self.num_classes, 2..=10_000)
    }

    fn level_channels(&self) -> Vec<i64> {
        level_channels(&self.channel_mult, self.classifier_width)
    }

    fn heads(&self) -> Heads {
        Heads::OfChannels(self.num_head_channels)
    }

    fn shape(&self) -> AdmShape {
        AdmShape {
            image_size: self.image_size,
            width: self.classifier_width,
            level_channels: self.level_channels(),
            num_res_blocks: self.classifier_depth,
            attention_resolutions: self.attention_resolutions.clone(),
            heads: self.heads(),
            heads_upsample: self.heads(),
            new_attention_order: false,
            scale_shift: self.use_scale_shift_norm,
            resblock_updown: self.resblock_updown,
            conv_resample: true,
            dropout: self.dropout,
        }
    }
}

/// The extractor; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct Dse {
    encoder: Encoder,
    head_norm: GroupNorm,
    head: AttentionPool,
}

impl Dse {
    pub(super) fn new(path: &Path, config: &DseConfig) -> Self {
        let shape = config.shape();
        let encoder = Encoder::new(path, &shape);
        let at = path / "I2Iout";
        let head = AttentionPool::new(
            &at / 2,
            encoder.side,
            encoder.channels,
            config.num_head_channels,
            config.num_classes,
        );
        Self {
            head_norm: GroupNorm::new(&at / 0, encoder.channels),
            head,
            encoder,
        }
    }

    /// Noised images `x` `[n, 3, s, s]` at time indices `t` `[n]` or `[1]` to the feature map
    /// behind the middle block, `[n, c, s', s']` in float32. `kind` is the working precision.
    pub fn features(&self, x: &Tensor, t: &Tensor, kind: Kind, mode: Mode) -> Tensor {
        let emb = self.encoder.embed(t, kind);
        let x = x.to_kind(kind);
        self.encoder.forward(&x, &emb, mode).to_kind(Kind::Float)
    }

    /// [`Dse::features`] of a frozen network and their pullback to `x`, both in float32, without
    /// libtorch's graph wherever this project's kernels serve.
    pub fn pullback(&self, x: &Tensor, t: &Tensor, kind: Kind) -> (Tensor, Pullback<'_>) {
        let emb = self.encoder.embed(t, kind);
        let (features, back) = self.encoder.pullback(&x.to_kind(kind), &emb);
        let features = features.to_kind(Kind::Float);
        (
            features,
            Box::new(move |g| back(&g.to_kind(kind)).to_kind(Kind::Float)),
        )
    }

    /// Logits `[n, num_classes]` of a feature map, in float32.
    pub fn logits(&self, features: &Tensor, kind: Kind) -> Tensor {
        let h = self.head_norm.forward_silu(&features.to_kind(kind), None);
        self.head.forward(&h).to_kind(Kind::Float)
    }
}

impl Loaded<Dse> {
    /// Feature map of `x` `[n, 3, s, s]` at time indices `t` `[n]` or `[1]`: `[n, c, s', s']`.
    pub fn features(&self, x: &Tensor, t: &Tensor) -> Tensor {
        timed(x.device(), || {
            self.net.features(x, t, self.kind, Mode::Eval)
        })
    }

    /// Gradient with respect to `y` `[n, 3, s, s]` of the sum over images of
    /// `f(features of y at t)`. It works inside `no_grad`.
    pub fn gradient(&self, y: &Tensor, t: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        timed(y.device(), || {
            if !kernels_in_use(y.device(), self.kind) && !is_fused(y.device()) {
                return gradient_of(y, |y| f(&self.net.features(y, t, self.kind, Mode::Eval)));
            }
            let (features, back) = tch::no_grad(|| self.net.pullback(y, t, self.kind));
            let feature_gradient = gradient_of(&features, f);
            tch::no_grad(|| back(&feature_gradient).contiguous())
        })
    }

    /// Class logits `[n, num_classes]` of `x` `[n, 3, s, s]` at time indices `t` `[n]` or `[1]`.
    pub fn logits(&self, x: &Tensor, t: &Tensor) -> Tensor {
        timed(x.device(), || {
            let features = self.net.features(x, t, self.kind, Mode::Eval);
            self.net.logits(&features, self.kind)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::Emulation;
    use crate::networks::NetworkConfig;
    use crate::synthetic;
    use tch::Device;

    const CONFIG: &str = r#"{
        "kind": "dse", "image_size": 16, "classifier_width": 32, "classifier_depth": 1,
        "channel_mult": [1, 2], "attention_resolutions": [8], "num_head_channels": 32,
        "num_classes": 2, "pool": "attention", "use_scale_shift_norm": true,
        "resblock_updown": true
    }"#;

    fn parse(text: &str) -> NetworkConfig {
        serde_json::from_str(text).unwrap()
    }

    /// Features and a gradient of synthetic weights in a working precision.
    fn features_and_gradient(kind: Kind) -> [Tensor; 2] {
        let mut dse = Loaded::<Dse>::fresh(&parse(CONFIG), Device::Cpu, kind).unwrap();
        synthetic::fill(&dse.vs, 1.0);
        dse.freeze();
        let x = synthetic::uniform("x", &[2, 3, 16, 16]);
        let t = Tensor::from_slice(&[10f32, 400.0]);
        let energy = |features: &Tensor| {
            features
                .square()
                .flatten(1, -1)
                .sum_dim_intlist(1, false, None::<Kind>)
        };
        tch::no_grad(|| [dse.features(&x, &t), dse.gradient(&x, &t, energy)])
    }

    #[test]
    fn bf16_rounds_features_and_gradients_a_little() {
        let exact = features_and_gradient(Kind::Float);
        let rounded = features_and_gradient(Kind::BFloat16);
        for (want, got) in exact.iter().zip(&rounded) {
            assert_eq!((got.kind(), got.size()), (Kind::Float, want.size()));
            let error = (got - want).norm().double_value(&[]) / want.norm().double_value(&[]);
            assert!((1e-4..5e-2).contains(&error), "{error}");
        }
    }

    /// Checks features and gradient by the kernels for GPUs, emulated, against the plain path.
    #[track_caller]
    fn check_fused(kind: Kind, bound: f64) {
        let plain = features_and_gradient(kind);
        let emulation = Emulation::new(kind);
        let before = emulation.launches();
        let fused = features_and_gradient(kind);
        // Two passes of the features' norms, and the gradient of those in residual blocks.
        let launches = emulation.launches() - before;
        assert!(launches > 0 && launches % 3 == 0, "{launches}");
        for (want, got) in plain.iter().zip(&fused) {
            assert_eq!((got.kind(), got.size()), (Kind::Float, want.size()));
            let error = (got - want).norm().double_value(&[]) / want.norm().double_value(&[]);
            assert!(error < bound, "{kind:?}: {error}");
        }
    }

    #[test]
    fn kernels_for_gpus_give_the_plain_features_and_gradients() {
        check_fused(Kind::Float, 1e-5);
        check_fused(Kind::BFloat16, 2e-2);
    }

    #[test]
    fn one_row_of_time_holds_for_all_images() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let mut dse = Loaded::<Dse>::fresh(&parse(CONFIG), Device::Cpu, kind).unwrap();
            synthetic::fill(&dse.vs, 1.0);
            dse.freeze();
            let x = synthetic::uniform("x", &[3, 3, 16, 16]);
            let [per_image, for_all] = [3, 1].map(|rows| {
                let t = Tensor::full([rows], 400.0, (Kind::Float, Device::Cpu));
                let gradient = dse.gradient(&x, &t, |f| f.square().flatten(1, -1).sum(Kind::Float));
                tch::no_grad(|| [dse.features(&x, &t), gradient])
            });
            // The rows are products of another shape, which round differently.
            let bound = if kind == Kind::Float { 1e-5 } else { 1e-2 };
            for (want, got) in per_image.iter().zip(&for_all) {
                let error = (got - want).norm().double_value(&[]) / want.norm().double_value(&[]);
                assert!(error < bound, "{kind:?}: {error} of {bound}");
            }
        }
    }

    #[test]
    fn one_class_is_refused() {
        let text = CONFIG.replace("\"num_classes\": 2", "\"num_classes\": 1");
        let error = parse(&text).check().unwrap_err();
        assert!(error.to_string().contains("num_classes"), "{error}");
    }
}
