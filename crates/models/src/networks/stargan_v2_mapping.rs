//! StarGAN v2's mapping network: random numbers to the style of a domain.

use super::config::check_count;
use super::stargan_v2_blocks::{check_styles, select_domain};
use crate::layers::Linear;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of a mapping network, named as in the repository's options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StarganV2MappingConfig {
    /// Length of the random vector.
    pub latent_dim: i64,
    /// Length of a style.
    pub style_dim: i64,
    /// Domains, each with layers of its own.
    pub num_domains: i64,
}

impl StarganV2MappingConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        check_count("latent_dim", self.latent_dim, 1..=4096)?;
        check_styles(self.style_dim, self.num_domains)
    }
}

/// Width of all hidden layers.
const HIDDEN: i64 = 512;

/// Linear maps with a ReLU behind each but, where it ends the network, the last.
#[derive(Debug)]
struct Chain(Vec<Linear>);

impl Chain {
    /// Registers maps between neighbouring `widths` under `path` and their place in a list that
    /// counts activations.
    fn new(path: &Path, widths: &[i64]) -> Self {
        let pairs = widths.windows(2).enumerate();
        Self(
            pairs
                .map(|(i, pair)| Linear::new(path / (2 * i), pair[0], pair[1]))
                .collect(),
        )
    }

    /// The output in front of the last ReLU.
    fn forward(&self, x: &Tensor) -> Tensor {
        let mut h = x.shallow_clone();
        for (i, linear) in self.0.iter().enumerate() {
            h = linear.forward(&if i == 0 { h } else { h.relu() });
        }
        h
    }
}

/// The mapping network; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct StarganV2Mapping {
    shared: Chain,
    domains: Vec<Chain>,
}

impl StarganV2Mapping {
    pub(super) fn new(path: &Path, config: &StarganV2MappingConfig) -> Self {
        let latent = config.latent_dim;
        let shared = Chain::new(
            &(path / "shared"),
            &[latent, HIDDEN, HIDDEN, HIDDEN, HIDDEN],
        );
        let mut domains = Vec::new();
        for domain in 0..config.num_domains {
            let at = path / "unshared" / domain;
            domains.push(Chain::new(
                &at,
                &[HIDDEN, HIDDEN, HIDDEN, HIDDEN, config.style_dim],
            ));
        }
        Self { shared, domains }
    }

    /// Random vectors `z` `[n, latent_dim]` to styles `[n, style_dim]` of the domains `y` `[n]`
    /// (64-bit whole numbers), in float32. `kind` is the working precision.
    pub fn forward(&self, z: &Tensor, y: &Tensor, kind: Kind) -> Tensor {
        let h = self.shared.forward(&z.to_kind(kind)).relu();
        let styles: Vec<Tensor> = self.domains.iter().map(|d| d.forward(&h)).collect();
        select_domain(&styles, y).to_kind(Kind::Float)
    }
}
