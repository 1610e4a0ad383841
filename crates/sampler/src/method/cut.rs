//! CUT (Park et al. 2020): one evaluation of a residual generator.

use super::{Method, MethodSettings};
use crate::cost::Evaluations;
use crate::energy::ExpertConfig;
use crate::generators::GeneratorName;
use crate::noise::Noise;
use crate::settings::{Networks, TaskFacts};
use anyhow::Result;
use egsde_models::networks::Diffusion;
use egsde_models::{Loaded, ResnetGenerator};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A CUT row has no keys: the task names the generator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CutConfig {}

/// Translates by CUT's or CycleGAN's generator, without any step.
pub struct ResnetTranslation<'a> {
    /// Whose generator it is.
    pub name: GeneratorName,
    /// The generator of the direction that is translated.
    pub generator: &'a Loaded<ResnetGenerator>,
}

impl Method for ResnetTranslation<'_> {
    fn translate(
        &self,
        x0: &Tensor,
        _: &dyn Noise,
        observe: &mut dyn FnMut(usize, usize, &Tensor),
    ) -> Result<Tensor> {
        let y = tch::no_grad(|| self.generator.translate(x0));
        observe(0, 0, &y);
        Ok(self.name.image(&y))
    }
}

impl MethodSettings for CutConfig {
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
        Some(GeneratorName::Cut)
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
            name: GeneratorName::Cut,
            generator: networks.generator()?.resnet()?,
        }))
    }
}
