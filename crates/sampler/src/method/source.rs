//! The source images as they are: the row of a table that shows how far the source domain lies from
//! the target.

use super::{Method, MethodSettings, image_from_sample};
use crate::cost::Evaluations;
use crate::energy::ExpertConfig;
use crate::generators::GeneratorName;
use crate::noise::Noise;
use crate::settings::{Networks, TaskFacts};
use anyhow::Result;
use egsde_models::networks::Diffusion;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Returns each source unchanged, without any step.
pub struct Source;

/// A source row has no keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {}

impl Method for Source {
    fn translate(
        &self,
        x0: &Tensor,
        _: &dyn Noise,
        _: &mut dyn FnMut(usize, usize, &Tensor),
    ) -> Result<Tensor> {
        Ok(image_from_sample(x0))
    }
}

impl MethodSettings for SourceConfig {
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
        None
    }

    fn evaluations(&self) -> Evaluations {
        Evaluations::default()
    }

    fn depends_on_seed(&self) -> bool {
        false
    }

    fn check_network(&self, _: &Diffusion) -> Result<()> {
        Ok(())
    }

    fn build<'a>(&self, _: &Networks<'a>) -> Result<Box<dyn Method + 'a>> {
        Ok(Box::new(Source))
    }
}
