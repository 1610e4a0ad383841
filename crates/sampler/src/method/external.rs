//! Translations that another program made: a row of a table, and nothing to sample.

use super::{Method, MethodSettings};
use crate::cost::Evaluations;
use crate::energy::ExpertConfig;
use crate::generators::GeneratorName;
use crate::settings::{Networks, TaskFacts};
use anyhow::{Result, bail};
use egsde_models::networks::Diffusion;
use serde::{Deserialize, Serialize};

/// Keys of an external row.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalConfig {
    /// Folder of the translations, matched to the sources by file stem; `{seed}` in it is replaced
    /// by the seed. It stands here as it was written.
    pub images: String,
}

impl MethodSettings for ExternalConfig {
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
        self.images.contains("{seed}")
    }

    fn check_network(&self, _: &Diffusion) -> Result<()> {
        Ok(())
    }

    fn build<'a>(&self, _: &Networks<'a>) -> Result<Box<dyn Method + 'a>> {
        bail!("an external method's translations are read, not sampled")
    }
}
