//! StarGAN v2's style encoder: the style of a reference image, as an image of a domain.

use super::stargan_v2_blocks::{ImageShape, Trunk, check_styles, select_domain};
use crate::layers::Linear;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of a style encoder, named as in the repository's options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StarganV2StyleEncoderConfig {
    /// Side of the square images in pixels, a power of 2.
    pub img_size: i64,
    /// Length of a style.
    pub style_dim: i64,
    /// Domains, each with a layer of its own.
    pub num_domains: i64,
    /// Most channels that a convolution has.
    pub max_conv_dim: i64,
}

impl StarganV2StyleEncoderConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        self.shape().check()?;
        check_styles(self.style_dim, self.num_domains)
    }

    fn shape(&self) -> ImageShape {
        ImageShape {
            img_size: self.img_size,
            max_conv_dim: self.max_conv_dim,
        }
    }
}

/// The style encoder; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct StarganV2StyleEncoder {
    trunk: Trunk,
    domains: Vec<Linear>,
}

impl StarganV2StyleEncoder {
    pub(super) fn new(path: &Path, config: &StarganV2StyleEncoderConfig) -> Self {
        let trunk = Trunk::new(&(path / "shared"), config.shape());
        let mut domains = Vec::new();
        for domain in 0..config.num_domains {
            let at = path / "unshared" / domain;
            domains.push(Linear::new(at, trunk.channels, config.style_dim));
        }
        Self { trunk, domains }
    }

    /// Images `x` `[n, 3, s, s]` in [-1, 1] to styles `[n, style_dim]` of the domains `y` `[n]`
    /// (64-bit whole numbers), in float32. `kind` is the working precision.
    pub fn forward(&self, x: &Tensor, y: &Tensor, kind: Kind) -> Tensor {
        let h = self.trunk.forward(&x.to_kind(kind)).flatten(1, -1);
        let styles: Vec<Tensor> = self.domains.iter().map(|d| d.forward(&h)).collect();
        select_domain(&styles, y).to_kind(Kind::Float)
    }
}
