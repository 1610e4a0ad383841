//! StarGAN v2's discriminator: whether an image is real, one number per domain.

use super::stargan_v2_blocks::{ImageShape, Trunk, check_styles};
use crate::layers::{Conv2d, ConvOptions};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of a discriminator, named as in the repository's options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StarganV2DiscriminatorConfig {
    /// Side of the square images in pixels, a power of 2.
    pub img_size: i64,
    /// Domains, one logit each.
    pub num_domains: i64,
    /// Most channels that a convolution has.
    pub max_conv_dim: i64,
}

impl StarganV2DiscriminatorConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        self.shape().check()?;
        check_styles(1, self.num_domains)
    }

    fn shape(&self) -> ImageShape {
        ImageShape {
            img_size: self.img_size,
            max_conv_dim: self.max_conv_dim,
        }
    }
}

/// The discriminator; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct StarganV2Discriminator {
    trunk: Trunk,
    head: Conv2d,
}

impl StarganV2Discriminator {
    pub(super) fn new(path: &Path, config: &StarganV2DiscriminatorConfig) -> Self {
        let main = path / "main";
        let trunk = Trunk::new(&main, config.shape());
        let at = &main / trunk.next_index;
        let options = ConvOptions::same(1);
        Self {
            head: Conv2d::new(at, trunk.channels, config.num_domains, options),
            trunk,
        }
    }

    /// Images `x` `[n, 3, s, s]` in [-1, 1] to the logits `[n]` of the domains `y` `[n]` (64-bit
    /// whole numbers), in float32. `kind` is the working precision.
    pub fn forward(&self, x: &Tensor, y: &Tensor, kind: Kind) -> Tensor {
        let logits = self.head.forward(&self.trunk.forward(&x.to_kind(kind)));
        let logits = logits.flatten(1, -1).to_kind(Kind::Float);
        logits.gather(1, &y.unsqueeze(1), false).squeeze_dim(1)
    }
}
