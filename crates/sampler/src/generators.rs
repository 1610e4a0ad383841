//! Networks that translate an image in one evaluation, as rows of the GANs are built on them.

use crate::pixels::{image_from_pixels, rounded_pixels, truncated_pixels};
use anyhow::{Context, Result, bail, ensure};
use egsde_models::networks::resnet_generator::SIDE_MULTIPLE;
use egsde_models::{Loaded, NetworkConfig, ResnetGenerator, StarganV2};
use serde::{Deserialize, Serialize};
use std::fmt;
use tch::Tensor;

/// The methods that translate by a generator, as rows and tasks spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneratorName {
    /// Contrastive unpaired translation (Park et al. 2020).
    Cut,
    /// Cycle-consistent translation (Zhu et al. 2017).
    Cyclegan,
    /// StarGAN v2 (Choi et al. 2020).
    StarganV2,
}

impl GeneratorName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cut, Self::Cyclegan, Self::StarganV2];
}

impl fmt::Display for GeneratorName {
    /// As rows spell it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "cut",
            Self::Cyclegan => "cyclegan",
            Self::StarganV2 => "stargan_v2",
        })
    }
}

impl GeneratorName {
    /// Checks that a network can translate images of `side` px for this method.
    ///
    /// # Errors
    /// A network of another kind, of other images, or with other channels than RGB has.
    pub fn check(self, config: &NetworkConfig, side: usize) -> Result<()> {
        match (self, config) {
            (Self::Cut | Self::Cyclegan, NetworkConfig::ResnetGenerator(resnet)) => {
                let (from, to) = (resnet.input_nc, resnet.output_nc);
                ensure!(
                    (from, to) == (3, 3),
                    "the generator of {self} turns {from} channels into {to}: pictures have 3"
                );
                ensure!(
                    (side as i64) % SIDE_MULTIPLE == 0,
                    "the generator of {self} needs pictures of a multiple of {SIDE_MULTIPLE} px, \
                     the task's have {side}"
                );
            }
            (Self::StarganV2, NetworkConfig::StarganV2(stargan)) => ensure!(
                stargan.img_size == side as i64,
                "the generator of {self} is for pictures of {} px, the task's have {side}",
                stargan.img_size
            ),
            _ => bail!(
                "the generator of {self} is a network of kind {}, this one is of kind {}",
                self.kind(),
                config.kind()
            ),
        }
        Ok(())
    }

    /// An output `y` `[n, 3, h, w]` around [-1, 1] as the image in [0, 1] that its authors store:
    /// 8-bit values are truncated (CUT, CycleGAN: `tensor2im`) or rounded (StarGAN v2:
    /// torchvision's `save_image`).
    pub fn image(self, y: &Tensor) -> Tensor {
        image_from_pixels(&match self {
            Self::Cut | Self::Cyclegan => truncated_pixels(y),
            Self::StarganV2 => rounded_pixels(y),
        })
    }

    /// The kind of its network, as configurations spell it.
    fn kind(self) -> &'static str {
        match self {
            Self::Cut | Self::Cyclegan => "resnet_generator",
            Self::StarganV2 => "stargan_v2",
        }
    }
}

/// An open generator.
#[derive(Debug)]
pub enum Generator {
    /// CUT's or CycleGAN's.
    Resnet(Loaded<ResnetGenerator>),
    /// StarGAN v2's, with the networks that make its styles.
    StarganV2(Box<Loaded<StarganV2>>),
}

impl Generator {
    /// CUT's or CycleGAN's generator.
    ///
    /// # Errors
    /// It is another one.
    pub fn resnet(&self) -> Result<&Loaded<ResnetGenerator>> {
        match self {
            Self::Resnet(generator) => Ok(generator),
            Self::StarganV2(_) => bail!("expected a network of kind resnet_generator"),
        }
    }

    /// StarGAN v2's generator.
    ///
    /// # Errors
    /// It is another one.
    pub fn stargan_v2(&self) -> Result<&Loaded<StarganV2>> {
        match self {
            Self::StarganV2(generator) => Ok(generator),
            Self::Resnet(_) => bail!("expected a network of kind stargan_v2"),
        }
    }
}

/// The label of `domain` among those that StarGAN v2 was trained with.
///
/// # Errors
/// There is no such domain; the error names those there are.
pub fn domain_label(domains: &[String], domain: &str) -> Result<i64> {
    let found = domains.iter().position(|name| name == domain);
    let found = found.with_context(|| {
        format!(
            "the generator of stargan_v2 knows no domain {domain:?}, it has {}: give the row \
             domain",
            domains.join(", ")
        )
    })?;
    Ok(found as i64)
}

/// The images of the target domain, from which a row may draw some.
pub trait ReferenceImages {
    /// How many there are.
    fn count(&self) -> usize;

    /// Those at `indices`, `[n, 3, s, s]` in [-1, 1], on the CPU.
    ///
    /// # Errors
    /// An image that cannot be read.
    fn images(&self, indices: &[usize]) -> Result<Tensor>;
}
