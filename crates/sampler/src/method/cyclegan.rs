//! CycleGAN (Zhu et al. 2017): as CUT, by the generator from the source's domain to the target's.

use super::{Method, MethodSettings, ResnetTranslation};
use crate::cost::Evaluations;
use crate::energy::ExpertConfig;
use crate::generators::GeneratorName;
use crate::settings::{Networks, TaskFacts};
use anyhow::Result;
use egsde_models::networks::Diffusion;
use serde::{Deserialize, Serialize};

/// A CycleGAN row has no keys: the task names the generator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CycleganConfig {}

impl MethodSettings for CycleganConfig {
    fn unused_key(&self) -> Option<&'static str> {
        None
    }

    fn settle(&self, _: &TaskFacts) -> Result<Self> {
        Ok(self.clone())
    }

    fn experts(&self) -> &[ExpertConfig] {
        &[]
    }

    fn generator(&self) -> Option<GeneratorName> {
        Some(GeneratorName::Cyclegan)
    }

    fn evaluations(&self) -> Evaluations {
        Evaluations::for_generator()
    }

    fn depends_on_seed(&self) -> bool {
        false
    }

    fn check_network(&self, _: &Diffusion) -> Result<()> {
        Ok(())
    }

    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Method + 'a>> {
        Ok(Box::new(ResnetTranslation {
            name: GeneratorName::Cyclegan,
            generator: networks.generator()?.resnet()?,
        }))
    }
}
