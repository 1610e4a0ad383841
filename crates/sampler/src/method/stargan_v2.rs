//! StarGAN v2 (Choi et al. 2020): one evaluation of its generator under a style of the target
//! domain, which random numbers or a reference image give.

use super::{Method, MethodSettings};
use crate::cost::Evaluations;
use crate::energy::ExpertConfig;
use crate::generators::{GeneratorName, ReferenceImages, domain_label};
use crate::noise::{Noise, choices, latents};
use crate::settings::{Networks, TaskFacts};
use anyhow::{Context, Result};
use egsde_models::networks::Diffusion;
use egsde_models::{Loaded, StarganV2};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// What gives a style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guidance {
    /// The mapping network, from standard normal numbers.
    Latent,
    /// The style encoder, from an image of the task's reference.
    Reference,
}

/// Keys of a StarGAN v2 row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StarganV2Config {
    /// What gives a style.
    pub guidance: Guidance,
    /// The target domain by the name that the network's configuration has for it; the task's
    /// reference domain where a row gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// Where the styles of a batch come from.
enum Styles<'a> {
    Latent,
    Reference(&'a dyn ReferenceImages),
}

/// Translates by StarGAN v2's generator, without any step.
struct StarganV2Translation<'a> {
    networks: &'a Loaded<StarganV2>,
    styles: Styles<'a>,
    /// The target domain's.
    label: i64,
}

impl StarganV2Translation<'_> {
    /// One style per image of the batch `x0`, `[n, style_dim]`.
    fn styles(&self, x0: &Tensor, noise: &dyn Noise) -> Result<Tensor> {
        let networks = self.networks;
        match self.styles {
            Styles::Latent => {
                let z = latents(noise, networks.net.latent_dim())?;
                Ok(networks.latent_style(&z, self.label))
            }
            Styles::Reference(references) => {
                let chosen = choices(noise, references.count())?;
                let images = references.images(&chosen)?.to_device(x0.device());
                Ok(networks.reference_style(&images, self.label))
            }
        }
    }
}

impl Method for StarganV2Translation<'_> {
    fn translate(
        &self,
        x0: &Tensor,
        noise: &dyn Noise,
        observe: &mut dyn FnMut(usize, usize, &Tensor),
    ) -> Result<Tensor> {
        tch::no_grad(|| {
            let styles = self.styles(x0, noise)?;
            let y = self.networks.translate(x0, &styles);
            observe(0, 0, &y);
            Ok(GeneratorName::StarganV2.image(&y))
        })
    }
}

impl MethodSettings for StarganV2Config {
    fn unused_key(&self) -> Option<&'static str> {
        None
    }

    fn settle(&self, task: &TaskFacts) -> Result<Self> {
        let domain = self.domain.as_deref().unwrap_or(task.target);
        if let Some(domains) = task.stargan_v2_domains {
            domain_label(domains, domain)?;
        }
        Ok(Self {
            guidance: self.guidance,
            domain: Some(domain.into()),
        })
    }

    fn experts(&self) -> &[ExpertConfig] {
        &[]
    }

    fn generator(&self) -> Option<GeneratorName> {
        Some(GeneratorName::StarganV2)
    }

    fn evaluations(&self) -> Evaluations {
        Evaluations::for_generator()
    }

    fn depends_on_seed(&self) -> bool {
        true
    }

    fn check_network(&self, _: &Diffusion) -> Result<()> {
        Ok(())
    }

    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Method + 'a>> {
        let generator = networks.generator()?.stargan_v2()?;
        let domain = self
            .domain
            .as_deref()
            .context("settings without a domain")?;
        let styles = match self.guidance {
            Guidance::Latent => Styles::Latent,
            Guidance::Reference => {
                let references = networks.references.context("no reference pictures")?;
                Styles::Reference(references)
            }
        };
        Ok(Box::new(StarganV2Translation {
            networks: generator,
            styles,
            label: domain_label(generator.net.domains(), domain)?,
        }))
    }
}
