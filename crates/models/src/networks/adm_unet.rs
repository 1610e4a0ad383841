//! The ADM U-Net, which predicts the noise (Dhariwal & Nichol 2021; guided-diffusion's
//! `UNetModel`).

use super::NoisePredictor;
use super::adm_blocks::{Block, Encoder, decoder_blocks};
use crate::layers::{Conv2d, ConvOptions, GroupNorm, Mode};
use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

pub use super::adm_unet_config::AdmUnetConfig;

/// The network; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct AdmUnet {
    encoder: Encoder,
    decoder: Vec<Block>,
    out_norm: GroupNorm,
    out_conv: Conv2d,
    /// What is added to the time embedding per class, `[classes, 4 * width]`.
    label_emb: Option<Tensor>,
}

impl AdmUnet {
    pub(super) fn new(path: &Path, config: &AdmUnetConfig) -> Self {
        let shape = config.shape();
        let encoder = Encoder::new(path, &shape);
        let (decoder, channels) = decoder_blocks(path, &shape, &encoder);
        let outputs = if config.learn_sigma { 6 } else { 3 };
        let options = ConvOptions::same(3).zero();
        let out_conv = Conv2d::new(path / "out" / 2, channels, outputs, options);
        let label_emb = config.num_classes.map(|classes| {
            let shape = [classes, 4 * config.num_channels];
            let init = Init::Randn {
                mean: 0.0,
                stdev: 1.0,
            };
            (path / "label_emb").var("weight", &shape, init)
        });
        Self {
            encoder,
            decoder,
            out_norm: GroupNorm::new(path / "out" / 0, channels),
            out_conv,
            label_emb,
        }
    }

    /// Noised images `x` `[n, 3, s, s]` (clean images are in [-1, 1]) at time indices `t` `[n]` or
    /// `[1]` in 0..1000 to `[n, 3 or 6, s, s]` in float32; the first three channels are the
    /// predicted noise. `kind` is the working precision.
    ///
    /// # Panics
    /// The network was told of classes in training: see [`AdmUnet::forward_labelled`].
    pub fn forward(&self, x: &Tensor, t: &Tensor, kind: Kind, mode: Mode) -> Tensor {
        assert!(self.label_emb.is_none(), "this network needs class labels");
        let emb = self.encoder.embed(t, kind);
        self.forward_embedded(x, &emb, kind, mode)
    }

    /// As [`AdmUnet::forward`] of a network that was told of classes, whose labels `[n]` or `[1]`
    /// (int64) say what is in the images.
    pub fn forward_labelled(
        &self,
        x: &Tensor,
        t: &Tensor,
        labels: &Tensor,
        kind: Kind,
        mode: Mode,
    ) -> Tensor {
        let emb = self.encoder.embed(t, kind);
        let emb = match &self.label_emb {
            Some(label_emb) => emb + label_emb.to_kind(kind).index_select(0, labels),
            None => emb,
        };
        self.forward_embedded(x, &emb, kind, mode)
    }

    fn forward_embedded(&self, x: &Tensor, emb: &Tensor, kind: Kind, mode: Mode) -> Tensor {
        let x = x.to_kind(kind);
        let (mut h, mut skips) = self.encoder.forward_with_skips(&x, emb, mode);
        for block in &self.decoder {
            let skip = skips.pop().expect("one skip per output block");
            h = block.forward(&Tensor::cat(&[h, skip], 1), emb, mode);
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

    fn num_classes(config: &AdmUnetConfig) -> Option<i64> {
        config.num_classes
    }

    fn predict_class_noise(&self, x: &Tensor, t: &Tensor, labels: &Tensor, kind: Kind) -> Tensor {
        self.forward_labelled(x, t, labels, kind, Mode::Eval)
    }
}
