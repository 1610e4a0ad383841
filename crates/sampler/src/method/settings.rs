//! What a method's settings answer, and what follows from that for any method.

use super::{ExternalConfig, Guidance, Method, MethodConfig};
use crate::cost::Evaluations;
use crate::energy::ExpertConfig;
use crate::generators::GeneratorName;
use crate::settings::{Networks, TaskFacts};
use anyhow::Result;
use egsde_models::networks::Diffusion;

/// Settings of one method: a serde struct of the method's own keys with `deny_unknown_fields`, so
/// that a key which the method would ignore cannot be written. No function has a default, so that
/// the compiler asks for each.
pub trait MethodSettings: Sized {
    /// A key that the other settings make meaningless.
    fn unused_key(&self) -> Option<&'static str>;

    /// The settings with every default filled in, names resolved, and without experts that never
    /// count: what decides the images.
    ///
    /// # Errors
    /// Settings that mean nothing on this task.
    fn settle(&self, task: &TaskFacts) -> Result<Self>;

    /// The experts of the energy.
    fn experts(&self) -> &[ExpertConfig];

    /// Whose generator translates; none of methods without one.
    fn generator(&self) -> Option<GeneratorName>;

    /// Network evaluations per image of settled settings; none of the diffusion network means that
    /// the images do not depend on it.
    fn evaluations(&self) -> Evaluations;

    /// Whether another seed gives other images.
    fn depends_on_seed(&self) -> bool;

    /// Checks settled settings that evaluate the diffusion network against the one that is there.
    ///
    /// # Errors
    /// Settings that this network cannot do.
    fn check_network(&self, diffusion: &Diffusion) -> Result<()>;

    /// The method of settled settings.
    ///
    /// # Errors
    /// Settings that were not settled, or a network that is missing.
    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Method + 'a>>;
}

impl MethodConfig {
    /// The folder of an external method's images.
    pub fn external_images(&self) -> Option<&str> {
        let Self::External(config) = self else {
            return None;
        };
        Some(&config.images)
    }

    /// Whether the images are the sources as they are.
    pub fn is_source(&self) -> bool {
        matches!(self, Self::Source(_))
    }

    /// Whether settled settings evaluate the diffusion network.
    pub fn uses_diffusion(&self) -> bool {
        self.evaluations().diffusion > 0
    }

    /// Whether images of the task's reference give the styles.
    pub fn uses_references(&self) -> bool {
        matches!(self, Self::StarganV2(config) if config.guidance == Guidance::Reference)
    }

    /// Whether the extractor takes part.
    pub fn uses_extractor(&self) -> bool {
        self.experts().iter().any(ExpertConfig::uses_extractor)
    }

    /// The same without folders: they do not decide images, what lies in them does.
    pub fn without_paths(self) -> Self {
        let Self::External(_) = self else {
            return self;
        };
        Self::External(ExternalConfig {
            images: String::new(),
        })
    }
}
