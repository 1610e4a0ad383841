//! SDEdit (Meng et al. 2022): EGSDE without experts.

use super::sde::{SdeSettings, SolverKeys};
use super::{Egsde, Method, MethodSettings, SourceNoise, keys};
use crate::cost::Evaluations;
use crate::energy::{Energy, ExpertConfig};
use crate::generators::GeneratorName;
use crate::schedule::Variance;
use crate::settings::{Networks, TaskFacts};
use crate::solver::Solver;
use anyhow::Result;
use egsde_models::networks::Diffusion;
use serde::{Deserialize, Serialize};

/// Keys of an SDEdit row; see [`EgsdeConfig`](super::EgsdeConfig).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SdeditConfig {
    /// Respaced steps of the whole of T (1 to 1000).
    #[serde(default = "keys::default_steps", deserialize_with = "keys::steps")]
    pub steps: usize,
    /// The time at which the reverse process starts, the paper's M, as a fraction of T, in (0, 1].
    #[serde(default = "keys::default_start", deserialize_with = "keys::start")]
    pub start: f64,
    /// How a step is taken.
    #[serde(default = "keys::default_solver")]
    pub solver: Solver,
    /// Noise of DDIM and SDE-DPM-Solver++: 0 (deterministic) to 1 (that of the reverse SDE).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "keys::eta"
    )]
    pub eta: Option<f64>,
    /// The variance that the ancestral solver adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance: Option<Variance>,
    /// How often the whole translation is done, each from the result before: the paper's K.
    #[serde(default = "keys::default_repeats", deserialize_with = "keys::repeats")]
    pub repeats: usize,
    /// The class that the network is told, of those that it was trained with.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "keys::class_label"
    )]
    pub class_label: Option<i64>,
}

impl SdeditConfig {
    /// How its SDE is solved.
    pub fn sde(&self) -> SdeSettings {
        let keys = self.solver_keys();
        SdeSettings::new(self.steps, self.start, self.solver, keys, self.repeats)
    }

    fn solver_keys(&self) -> SolverKeys {
        SolverKeys {
            eta: self.eta,
            variance: self.variance,
        }
    }
}

impl MethodSettings for SdeditConfig {
    fn unused_key(&self) -> Option<&'static str> {
        self.solver_keys().unused(self.solver)
    }

    fn settle(&self, task: &TaskFacts) -> Result<Self> {
        self.sde().check_start()?;
        keys::check_known_classes(self.class_label, task)?;
        let SolverKeys { eta, variance } = self.solver_keys().settle(self.solver);
        Ok(Self {
            eta,
            variance,
            ..self.clone()
        })
    }

    fn experts(&self) -> &[ExpertConfig] {
        &[]
    }

    fn generator(&self) -> Option<GeneratorName> {
        None
    }

    fn evaluations(&self) -> Evaluations {
        let sde = self.sde();
        Evaluations::for_sde(sde.steps, sde.start_steps, sde.repeats, &[])
    }

    fn depends_on_seed(&self) -> bool {
        true
    }

    fn check_network(&self, diffusion: &Diffusion) -> Result<()> {
        self.sde().check_network(diffusion)?;
        keys::check_class_label(self.class_label, diffusion.num_classes())
    }

    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Method + 'a>> {
        let energy = Energy::default();
        let diffusion = networks.predictor(self.class_label)?;
        let egsde = Egsde::new(diffusion, energy, self.sde(), SourceNoise::Shared)?;
        Ok(Box::new(egsde))
    }
}
