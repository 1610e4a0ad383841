//! EGSDE as its code has it ("VP-EGSDE") and as the paper's Algorithm 1. SDEdit is EGSDE without
//! experts.

use super::sde::{SdeSettings, SolverKeys};
use super::{Method, MethodSettings, Predictor, eps, image_from_sample, keys};
use crate::cost::Evaluations;
use crate::energy::{
    DomainIndependentConfig, DomainSpecificConfig, Energy, ExpertConfig, ExpertSettings,
    Similarity, SourceKey, State, Weight, build_energy, settle_experts,
};
use crate::generators::GeneratorName;
use crate::noise::{Noise, Purpose};
use crate::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, Variance, space_timesteps, t_frac};
use crate::settings::{Networks, TaskFacts};
use crate::solver::{Solver, SolverMemory, Step};
use anyhow::{Result, ensure};
use egsde_models::networks::{Diffusion, time_indices};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The noise that perturbs the source at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceNoise {
    /// The noise of the start at every step, as EGSDE's code has it.
    Shared,
    /// A fresh draw at each step, as the paper's Algorithm 1 has it.
    Fresh,
}

/// Keys of an EGSDE row.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EgsdeConfig {
    /// Respaced steps of the whole of T (1 to 1000).
    #[serde(default = "keys::default_steps", deserialize_with = "keys::steps")]
    pub steps: usize,
    /// The time at which the reverse process starts, the paper's M, as a fraction of T, in (0, 1].
    #[serde(default = "keys::default_start", deserialize_with = "keys::start")]
    pub start: f64,
    /// Weight of the domain-specific expert.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "keys::lambda"
    )]
    pub lambda_s: Option<f64>,
    /// Weight of the domain-independent expert.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "keys::lambda"
    )]
    pub lambda_i: Option<f64>,
    /// Similarity of the expert of `lambda_s`; cosine when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity_s: Option<Similarity>,
    /// Similarity of the expert of `lambda_i`; minus the squared distance when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity_i: Option<Similarity>,
    /// By how much domain-independent experts that do not say it shrink an image; an eighth of its
    /// side when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_pass_factor: Option<usize>,
    /// Any number of experts, beside those of lambda_s and lambda_i.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experts: Vec<ExpertConfig>,
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
    /// The noise that perturbs the source.
    #[serde(default = "default_source_noise")]
    pub source_noise: SourceNoise,
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

fn default_source_noise() -> SourceNoise {
    SourceNoise::Shared
}

/// The energy-guided reverse SDE from step `start_steps - 1` down to 0.
pub struct Egsde<'a> {
    /// The noise predictor, trained on the target domain.
    pub diffusion: Box<dyn Predictor + 'a>,
    /// The energy that guides it; without experts the method is SDEdit.
    pub energy: Energy<'a>,
    /// The (respaced) steps of the whole of T.
    pub schedule: Schedule,
    /// Reverse steps, 1 to the length of `schedule` (Euler-Maruyama's N). The first starts at the
    /// time of step `start_steps - 1`, the paper's M.
    pub start_steps: usize,
    /// How a step is taken.
    pub solver: Solver,
    /// How much of the reverse SDE's noise DDIM and SDE-DPM-Solver++ add, 0 to 1; other solvers
    /// ignore it.
    pub eta: f64,
    /// The variance that the ancestral solver adds; other solvers ignore it.
    pub variance: Variance,
    /// The noise that perturbs the source.
    pub source_noise: SourceNoise,
    /// K, at least 1: each result is the next repeat's source.
    pub repeats: usize,
}

/// What the steps of one repeat share.
struct Repeat<'a> {
    /// Counts from 0.
    index: usize,
    /// The images that the repeat starts from, `[n, 3, s, s]`.
    source: Tensor,
    /// The noise of the start, `[n, 3, s, s]`.
    start_noise: Tensor,
    noise: &'a dyn Noise,
}

impl<'a> Egsde<'a> {
    /// The reverse SDE of a noise predictor under an energy.
    pub(super) fn new(
        diffusion: Box<dyn Predictor + 'a>,
        energy: Energy<'a>,
        sde: SdeSettings,
        source_noise: SourceNoise,
    ) -> Result<Self> {
        let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, sde.steps)?;
        Ok(Self {
            diffusion,
            energy,
            schedule: Schedule::ddpm().in_float32().respaced(&timesteps),
            start_steps: sde.start_steps,
            solver: sde.solver,
            eta: sde.eta,
            variance: sde.variance,
            source_noise,
            repeats: sde.repeats,
        })
    }
}

impl Egsde<'_> {
    /// The draw that perturbs the source at step `i`.
    fn source_draw(&self, repeat: usize, i: usize) -> Purpose {
        match self.source_noise {
            SourceNoise::Shared => Purpose::Start { repeat },
            SourceNoise::Fresh => Purpose::Source { repeat, step: i },
        }
    }

    /// What decides the perturbed source at step `i`, for features that rows share; none in later
    /// repeats, whose source is the result of this very method.
    fn source_key(&self, repeat: &Repeat, i: usize) -> Option<SourceKey> {
        if repeat.index > 0 {
            return None;
        }
        let draw = repeat.noise.key(self.source_draw(repeat.index, i))?;
        let (alpha_prod, t) = (self.schedule.alphas_cumprod[i], self.schedule.timesteps[i]);
        Some(SourceKey::new(draw, alpha_prod, t))
    }

    /// Whether the energy guides step `i`.
    fn is_guided(&self, i: usize) -> bool {
        self.energy.is_active(t_frac(self.schedule.timesteps[i]))
    }

    /// Gradient of the energy at step `i`; none when no expert counts at its time.
    fn energy_gradient(&self, y: &Tensor, repeat: &Repeat, i: usize) -> Option<Tensor> {
        if !self.is_guided(i) {
            return None;
        }
        let xt = match self.source_noise {
            SourceNoise::Shared => self
                .schedule
                .perturb(&repeat.source, &repeat.start_noise, i),
            SourceNoise::Fresh => {
                let noise = repeat.noise.draw(self.source_draw(repeat.index, i));
                self.schedule.perturb(&repeat.source, &noise, i)
            }
        };
        let t = self.schedule.timesteps[i];
        self.energy.gradient(&State {
            y,
            xt: &xt,
            t: &time_indices(y, t),
            t_frac: t_frac(t),
            source_key: self.source_key(repeat, i),
        })
    }

    /// Mean square of the predicted noise at step `i`, where it was measured.
    fn mean_square(&self, i: usize) -> Option<f64> {
        let norms = self.diffusion.noise_norms()?;
        Some(norms.mean_square(self.schedule.timesteps[i]))
    }

    /// The sample after step `i`.
    fn reverse_step(
        &self,
        y: &Tensor,
        repeat: &Repeat,
        i: usize,
        memory: &mut SolverMemory,
    ) -> Tensor {
        let gradient = self.energy_gradient(y, repeat, i);
        let output = self.diffusion.predict(y, self.schedule.timesteps[i]);
        let step = Step {
            schedule: &self.schedule,
            i,
            y,
            eps: &eps(&output),
            gradient: gradient.as_ref(),
            eta: self.eta,
            variance: self.variance,
            mean_square: self.mean_square(i),
        };
        let next = self.solver.step(&step, memory);
        if i == 0 || next.std == 0.0 {
            return next.mean;
        }
        let purpose = Purpose::Step {
            repeat: repeat.index,
            step: i,
        };
        next.mean + repeat.noise.draw(purpose) * next.std
    }
}

impl Method for Egsde<'_> {
    fn translate(
        &self,
        x0: &Tensor,
        noise: &dyn Noise,
        observe: &mut dyn FnMut(usize, usize, &Tensor),
    ) -> Result<Tensor> {
        let (m, n) = (self.start_steps, self.schedule.len());
        ensure!(m >= 1 && m <= n, "the start is {m} steps, must be 1 to {n}");
        ensure!(self.repeats >= 1, "repeats must be at least 1");
        ensure!(
            self.variance != Variance::Analytic || self.diffusion.noise_norms().is_some(),
            "the analytic variance needs the size of the network's predicted noise"
        );
        tch::no_grad(|| {
            let mut source = x0.shallow_clone();
            for index in 0..self.repeats {
                let start_noise = noise.draw(Purpose::Start { repeat: index });
                let repeat = Repeat {
                    index,
                    source,
                    start_noise,
                    noise,
                };
                let mut y = self
                    .schedule
                    .perturb(&repeat.source, &repeat.start_noise, m - 1);
                let mut memory = None;
                for i in (0..m).rev() {
                    y = self.reverse_step(&y, &repeat, i, &mut memory);
                    observe(index, i, &y);
                }
                source = y;
            }
            Ok(image_from_sample(&source))
        })
    }

    fn draws(&self) -> Vec<Purpose> {
        let adds_noise = self.solver.adds_noise(self.eta);
        let mut draws = Vec::new();
        for repeat in 0..self.repeats {
            draws.push(Purpose::Start { repeat });
            for step in (0..self.start_steps.min(self.schedule.len())).rev() {
                if self.source_noise == SourceNoise::Fresh && self.is_guided(step) {
                    draws.push(self.source_draw(repeat, step));
                }
                if adds_noise && step > 0 {
                    draws.push(Purpose::Step { repeat, step });
                }
            }
        }
        draws
    }
}

impl EgsdeConfig {
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

    /// The experts of `lambda_s` and `lambda_i`, then the others.
    fn all_experts(&self) -> Vec<ExpertConfig> {
        let mut experts = Vec::new();
        if let Some(weight) = self.lambda_s {
            experts.push(ExpertConfig::DomainSpecific(DomainSpecificConfig {
                weight: Weight::Constant(weight),
                similarity: self.similarity_s.unwrap_or(Similarity::Cosine),
            }));
        }
        if let Some(weight) = self.lambda_i {
            experts.push(ExpertConfig::DomainIndependent(DomainIndependentConfig {
                weight: Weight::Constant(weight),
                similarity: self.similarity_i.unwrap_or(Similarity::NegL2),
                low_pass_factor: None,
            }));
        }
        experts.extend(self.experts.iter().cloned());
        experts
    }
}

impl MethodSettings for EgsdeConfig {
    fn unused_key(&self) -> Option<&'static str> {
        if self.similarity_s.is_some() && self.lambda_s.is_none() {
            return Some("similarity_s (without lambda_s)");
        }
        if self.similarity_i.is_some() && self.lambda_i.is_none() {
            return Some("similarity_i (without lambda_i)");
        }
        self.solver_keys().unused(self.solver)
    }

    fn settle(&self, task: &TaskFacts) -> Result<Self> {
        let factor = task.low_pass_factor(self.low_pass_factor)?;
        let experts = settle_experts(self.all_experts(), factor, task)?;
        let sde = self.sde();
        sde.check_start()?;
        keys::check_known_classes(self.class_label, task)?;
        sde.check_experts(&experts)?;
        let SolverKeys { eta, variance } = self.solver_keys().settle(self.solver);
        Ok(Self {
            lambda_s: None,
            lambda_i: None,
            similarity_s: None,
            similarity_i: None,
            low_pass_factor: None,
            experts,
            eta,
            variance,
            ..self.clone()
        })
    }

    fn experts(&self) -> &[ExpertConfig] {
        &self.experts
    }

    fn generator(&self) -> Option<GeneratorName> {
        None
    }

    fn evaluations(&self) -> Evaluations {
        let sde = self.sde();
        let experts: Vec<_> = self
            .experts
            .iter()
            .map(|expert| (expert.weight(), expert.cost()))
            .collect();
        Evaluations::for_sde(sde.steps, sde.start_steps, sde.repeats, &experts)
    }

    fn depends_on_seed(&self) -> bool {
        true
    }

    fn check_network(&self, diffusion: &Diffusion) -> Result<()> {
        self.sde().check_network(diffusion)?;
        keys::check_class_label(self.class_label, diffusion.num_classes())
    }

    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Method + 'a>> {
        let energy = build_energy(&self.experts, networks)?;
        let diffusion = networks.predictor(self.class_label)?;
        let egsde = Egsde::new(diffusion, energy, self.sde(), self.source_noise)?;
        Ok(Box::new(egsde))
    }
}
