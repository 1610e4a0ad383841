//! StarGAN v2 as its authors publish it: generator, mapping network and style encoder in one file,
//! and for faces the landmark network (`100000_nets_ema.ckpt`).

use super::Loaded;
use super::stargan_v2_generator::{StarganV2Generator, StarganV2GeneratorConfig};
use super::stargan_v2_mapping::{StarganV2Mapping, StarganV2MappingConfig};
use super::stargan_v2_style_encoder::{StarganV2StyleEncoder, StarganV2StyleEncoderConfig};
use super::timing::timed;
use super::wing_fan::{WingFan, WingFanConfig};
use super::wing_masks::Masks;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of the networks, named as in the repository's options, and the names of the domains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StarganV2Config {
    /// Side of the square images in pixels, a power of 2.
    pub img_size: i64,
    /// Length of a style.
    pub style_dim: i64,
    /// Length of the random vector that the mapping network takes.
    pub latent_dim: i64,
    /// Most channels that a convolution has.
    pub max_conv_dim: i64,
    /// Divides the high-pass filter of faces; 0 where there is none, and no landmark network.
    pub w_hpf: f64,
    /// The domains in the order of their labels, which is that of the training folders' names.
    pub domains: Vec<String>,
}

impl StarganV2Config {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        let distinct: BTreeSet<&String> = self.domains.iter().collect();
        ensure!(
            distinct.len() == self.domains.len(),
            "domains {:?}: each may stand once",
            self.domains
        );
        self.generator().check()?;
        self.mapping().check()?;
        self.style_encoder().check()
    }

    fn num_domains(&self) -> i64 {
        self.domains.len() as i64
    }

    fn generator(&self) -> StarganV2GeneratorConfig {
        StarganV2GeneratorConfig {
            img_size: self.img_size,
            style_dim: self.style_dim,
            max_conv_dim: self.max_conv_dim,
            w_hpf: self.w_hpf,
        }
    }

    fn mapping(&self) -> StarganV2MappingConfig {
        StarganV2MappingConfig {
            latent_dim: self.latent_dim,
            style_dim: self.style_dim,
            num_domains: self.num_domains(),
        }
    }

    fn style_encoder(&self) -> StarganV2StyleEncoderConfig {
        StarganV2StyleEncoderConfig {
            img_size: self.img_size,
            style_dim: self.style_dim,
            num_domains: self.num_domains(),
            max_conv_dim: self.max_conv_dim,
        }
    }
}

/// The networks; their weights belong to the `VarStore` behind the path they were built with, each
/// under the name of its group in the file.
#[derive(Debug)]
pub struct StarganV2 {
    generator: StarganV2Generator,
    mapping_network: StarganV2Mapping,
    style_encoder: StarganV2StyleEncoder,
    /// The landmark network, which files for faces have.
    fan: Option<WingFan>,
    config: StarganV2Config,
}

impl StarganV2 {
    pub(super) fn new(path: &Path, config: &StarganV2Config) -> Self {
        let style_encoder = path / "style_encoder";
        Self {
            generator: StarganV2Generator::new(&(path / "generator"), &config.generator()),
            mapping_network: StarganV2Mapping::new(&(path / "mapping_network"), &config.mapping()),
            style_encoder: StarganV2StyleEncoder::new(&style_encoder, &config.style_encoder()),
            fan: (config.w_hpf > 0.0).then(|| WingFan::new(&(path / "fan"), &WingFanConfig {})),
            config: config.clone(),
        }
    }

    /// The names of the domains in the order of their labels.
    pub fn domains(&self) -> &[String] {
        &self.config.domains
    }

    /// Length of the random vector behind a latent-guided style.
    pub fn latent_dim(&self) -> usize {
        self.config.latent_dim as usize
    }

    /// Side of its images in pixels.
    pub fn image_size(&self) -> usize {
        self.config.img_size as usize
    }
}

/// The label once per image of the batch `x`, `[n]`.
fn labels(x: &Tensor, label: i64) -> Tensor {
    Tensor::full([x.size()[0]], label, (Kind::Int64, x.device()))
}

impl Loaded<StarganV2> {
    /// Styles `[n, style_dim]` of a domain's `label`, from standard normal `z` `[n, latent_dim]`.
    pub fn latent_style(&self, z: &Tensor, label: i64) -> Tensor {
        let mapping = &self.net.mapping_network;
        timed(z.device(), || {
            mapping.forward(z, &labels(z, label), self.kind)
        })
    }

    /// Styles `[n, style_dim]` of images `[n, 3, s, s]` in [-1, 1] of a domain's `label`.
    pub fn reference_style(&self, images: &Tensor, label: i64) -> Tensor {
        let encoder = &self.net.style_encoder;
        timed(images.device(), || {
            encoder.forward(images, &labels(images, label), self.kind)
        })
    }

    /// Images `x` `[n, 3, s, s]` in [-1, 1] under styles `[n, style_dim]`: `[n, 3, s, s]` around
    /// [-1, 1]. Of faces, the source's landmarks say what of it is kept.
    pub fn translate(&self, x: &Tensor, style: &Tensor) -> Tensor {
        timed(x.device(), || {
            let heatmaps = self.net.fan.as_ref().map(|fan| fan.heatmaps(x, self.kind));
            let masks = heatmaps.as_ref().map(Masks::from_heatmaps);
            self.net
                .generator
                .forward(x, style, masks.as_ref(), self.kind)
        })
    }
}
