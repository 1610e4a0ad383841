//! How a reverse SDE is solved: what EGSDE's and SDEdit's settings have in common.

use crate::energy::{ExpertConfig, ExpertSettings};
use crate::schedule::{NUM_TRAIN_TIMESTEPS, Variance, space_timesteps, t_frac};
use crate::solver::{Solver, SolverKey};
use anyhow::{Result, ensure};
use egsde_models::networks::Diffusion;

/// How a reverse SDE is solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SdeSettings {
    /// Respaced steps of the whole of T.
    pub steps: usize,
    /// M in respaced steps.
    pub start_steps: usize,
    /// How a step is taken.
    pub solver: Solver,
    /// Of DDIM and SDE-DPM-Solver++.
    pub eta: f64,
    /// Of the ancestral solver.
    pub variance: Variance,
    /// K.
    pub repeats: usize,
}

/// The keys that some solvers have, as a row gives them.
#[derive(Clone, Copy)]
pub(super) struct SolverKeys {
    pub eta: Option<f64>,
    pub variance: Option<Variance>,
}

impl SolverKeys {
    fn eta(self, solver: Solver) -> f64 {
        match solver.own_key() {
            Some(SolverKey::Eta { default }) => self.eta.unwrap_or(default),
            _ => 0.0,
        }
    }

    fn variance(self) -> Variance {
        self.variance.unwrap_or(Variance::FixedSmall)
    }

    /// A key that this solver would ignore.
    pub fn unused(self, solver: Solver) -> Option<&'static str> {
        let own = solver.own_key();
        if self.eta.is_some() && !matches!(own, Some(SolverKey::Eta { .. })) {
            Some("eta")
        } else if self.variance.is_some() && own != Some(SolverKey::Variance) {
            Some("variance")
        } else {
            None
        }
    }

    /// The solver's own key with its default; none of another solver.
    pub fn settle(self, solver: Solver) -> Self {
        let (eta, variance) = match solver.own_key() {
            Some(SolverKey::Eta { .. }) => (Some(self.eta(solver)), None),
            Some(SolverKey::Variance) => (None, Some(self.variance())),
            None => (None, None),
        };
        Self { eta, variance }
    }
}

impl SdeSettings {
    /// From a row's keys; `start` is M as a fraction of T. A key that the row leaves out has its
    /// solver's default.
    pub(super) fn new(
        steps: usize,
        start: f64,
        solver: Solver,
        keys: SolverKeys,
        repeats: usize,
    ) -> Self {
        Self {
            steps,
            start_steps: (start * steps as f64).round() as usize,
            solver,
            eta: keys.eta(solver),
            variance: keys.variance(),
            repeats,
        }
    }

    /// Checks that the network's file has what the variance depends on.
    pub(super) fn check_network(&self, diffusion: &Diffusion) -> Result<()> {
        ensure!(
            self.variance != Variance::Analytic || diffusion.noise_norms().is_some(),
            "variance: analytic needs the mean square of the diffusion network's predicted noise, \
             which its file does not have: `egsde weights measure-noise` adds it"
        );
        Ok(())
    }

    /// Checks that it begins at one of its steps.
    pub(super) fn check_start(&self) -> Result<()> {
        ensure!(
            self.start_steps > 0,
            "its start is less than one of {} steps: raise start or steps",
            self.steps
        );
        Ok(())
    }

    /// Checks that each expert counts at one of the steps at least.
    pub(super) fn check_experts(&self, experts: &[ExpertConfig]) -> Result<()> {
        let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, self.steps)?;
        let taken = &timesteps[..self.start_steps.min(timesteps.len())];
        for (number, expert) in experts.iter().enumerate() {
            let weight = expert.weight();
            let first = taken.last().map_or(0.0, |t| t_frac(*t as f64));
            ensure!(
                taken.iter().any(|t| weight.at(t_frac(*t as f64)) != 0.0),
                "expert {number} counts at none of this row's {} steps (t / T from {first} to 0): \
                 change its from and to, or leave it out",
                taken.len()
            );
        }
        Ok(())
    }
}
