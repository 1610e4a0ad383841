//! What the settings of methods and experts are settled against and built on.

use crate::energy::SourceFeatures;
use crate::generators::{Generator, ReferenceImages};
use anyhow::{Context, Result, ensure};
use egsde_models::networks::Diffusion;
use egsde_models::{Dse, Loaded, NetworkConfig};
use tch::Device;

/// What settings take from a task: their defaults depend on it, and they are checked against it.
#[derive(Debug, Clone, Copy)]
pub struct TaskFacts<'a> {
    /// The task's name, for errors.
    pub name: &'a str,
    /// Side of the square images in pixels.
    pub image_size: usize,
    /// Names of the extractor's classes in their order; empty where they are not known.
    pub classes: &'a [String],
    /// The diffusion network, where it is known already.
    pub diffusion: Option<DiffusionFacts>,
    /// The domain of the reference images.
    pub target: &'a str,
    /// The domains of the task's StarGAN v2 by label, where it has one that is known already.
    pub stargan_v2_domains: Option<&'a [String]>,
}

/// What settings take from a diffusion network.
#[derive(Debug, Clone, Copy)]
pub struct DiffusionFacts {
    /// Whether it predicts its variance too.
    pub learns_sigma: bool,
    /// Classes that it was told of in training; none where it knew no classes.
    pub num_classes: Option<i64>,
}

impl DiffusionFacts {
    /// Those of a configuration.
    pub fn new(config: &NetworkConfig) -> Self {
        Self {
            learns_sigma: config.learns_sigma(),
            num_classes: config.num_classes(),
        }
    }
}

impl TaskFacts<'_> {
    /// The low-pass factor of a row: an eighth of the image when the row gives none.
    ///
    /// # Errors
    /// As [`TaskFacts::check_low_pass_factor`].
    pub fn low_pass_factor(&self, given: Option<usize>) -> Result<usize> {
        let factor = given.unwrap_or(self.image_size / 8);
        self.check_low_pass_factor(factor)?;
        Ok(factor)
    }

    /// Checks that a low-pass factor divides the image.
    ///
    /// # Errors
    /// It does not.
    pub fn check_low_pass_factor(&self, factor: usize) -> Result<()> {
        let side = self.image_size;
        ensure!(
            factor > 0 && side.is_multiple_of(factor),
            "low_pass_factor {factor} does not divide the picture's {side} px"
        );
        Ok(())
    }
}

/// What methods and experts are built on.
#[derive(Clone, Copy)]
pub struct Networks<'a> {
    /// The noise predictor, trained on the target domain; none where no method needs it.
    pub diffusion: Option<&'a Diffusion>,
    /// The domain-specific extractor; none where no expert needs it.
    pub extractor: Option<&'a Loaded<Dse>>,
    /// The generator of the method that is built; none of methods without one.
    pub generator: Option<&'a Generator>,
    /// The images of the target domain; none where no method draws from them.
    pub references: Option<&'a dyn ReferenceImages>,
    /// Where rows with the same sources and noise share the source's features.
    pub source_features: Option<&'a SourceFeatures>,
    /// Side of the square images in pixels.
    pub image_size: usize,
    /// Where the networks lie.
    pub device: Device,
}

impl<'a> Networks<'a> {
    /// The noise predictor.
    ///
    /// # Errors
    /// It was not opened.
    pub fn diffusion(&self) -> Result<&'a Diffusion> {
        self.diffusion.context("the diffusion network is missing")
    }

    /// The generator.
    ///
    /// # Errors
    /// It was not opened.
    pub fn generator(&self) -> Result<&'a Generator> {
        self.generator.context("the generator is missing")
    }
}
