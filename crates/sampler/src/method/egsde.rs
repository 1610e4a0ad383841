//! EGSDE as the code has it ("VP-EGSDE") and as the paper's Algorithm 1; SDEdit is the same without experts.

use super::solver::{Solver, Step};
use super::{Evaluations, Method, Predictor, eps, times, to_picture};
use crate::energy::{Energy, Expert, State};
use crate::noise::{Noise, Purpose};
use crate::schedule::{Schedule, Variance};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// T in the steps networks know.
pub const STEPS_OF_T: f64 = 1000.0;

/// Which noise perturbs the source at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceNoise {
    /// The code's: the noise of the start, throughout.
    Shared,
    /// The paper's: a fresh draw each step.
    Fresh,
}

/// The energy-guided reverse SDE from `start_steps` down to 0.
pub struct Egsde<'a> {
    pub diffusion: &'a dyn Predictor,
    /// No expert: SDEdit.
    pub energy: Energy<'a>,
    /// The (respaced) steps of the whole of T.
    pub schedule: Schedule,
    /// M in steps of `schedule`; for Euler-Maruyama this is N, and M the time of step `start_steps - 1`.
    pub start_steps: usize,
    pub solver: Solver,
    /// Of DDIM, 0 to 1.
    pub eta: f64,
    /// Of the ancestral solver.
    pub variance: Variance,
    pub source_noise: SourceNoise,
    /// K: the result becomes the next source.
    pub repeats: usize,
}

impl Egsde<'_> {
    fn perturbed(&self, x0: &Tensor, noise: &Tensor, i: usize) -> Tensor {
        let a = self.schedule.alphas_cumprod[i];
        x0 * a.sqrt() + noise * (1.0 - a).sqrt()
    }

    /// t / T of a respaced step.
    fn share(&self, i: usize) -> f64 {
        self.schedule.timesteps[i] / STEPS_OF_T
    }

    fn energy_gradient(
        &self,
        y: &Tensor,
        x0: &Tensor,
        start: &Tensor,
        noise: &dyn Noise,
        repeat: usize,
        i: usize,
    ) -> Option<Tensor> {
        let share = self.share(i);
        if !self.energy.is_active(share) {
            return None;
        }
        let xt = match self.source_noise {
            SourceNoise::Shared => self.perturbed(x0, start, i),
            SourceNoise::Fresh => {
                self.perturbed(x0, &noise.draw(Purpose::Source { repeat, step: i }), i)
            }
        };
        let t = times(y, self.schedule.timesteps[i]);
        self.energy.gradient(&State {
            y,
            xt: &xt,
            t: &t,
            share,
        })
    }

    /// `last` is what a multistep solver keeps from one step to the next.
    fn step(
        &self,
        y: &Tensor,
        gradient: Option<Tensor>,
        noise: &dyn Noise,
        (repeat, i): (usize, usize),
        last: &mut Option<Tensor>,
    ) -> Tensor {
        let output = self.diffusion.predict(y, self.schedule.timesteps[i]);
        let step = Step {
            schedule: &self.schedule,
            i,
            y,
            eps: &eps(&output),
            gradient: gradient.as_ref(),
        };
        let (mean, deviation) = match self.solver {
            Solver::Ancestral => step.ancestral(self.variance),
            Solver::EulerMaruyama => step.euler_maruyama(),
            Solver::Ddim => step.ddim(self.eta),
            Solver::DpmSolverPp => step.dpm_solver_pp(last, false),
            Solver::SdeDpmSolverPp => step.dpm_solver_pp(last, true),
        };
        if i == 0 || deviation == 0.0 {
            mean
        } else {
            mean + noise.draw(Purpose::Step { repeat, step: i }) * deviation
        }
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
        tch::no_grad(|| {
            let mut source = x0.shallow_clone();
            for repeat in 0..self.repeats {
                let start = noise.draw(Purpose::Start { repeat });
                let mut y = self.perturbed(&source, &start, m - 1);
                let mut last = None;
                for i in (0..m).rev() {
                    let gradient = self.energy_gradient(&y, &source, &start, noise, repeat, i);
                    y = self.step(&y, gradient, noise, (repeat, i), &mut last);
                    observe(repeat, i, &y);
                }
                source = y;
            }
            Ok(to_picture(&source))
        })
    }

    fn evaluations(&self) -> Evaluations {
        let active = |e: &dyn Expert| {
            (0..self.start_steps)
                .filter(|i| e.weight().at(self.share(*i)) != 0.0)
                .count()
                * self.repeats
        };
        let costs = self
            .energy
            .0
            .iter()
            .map(|e| (active(e.as_ref()), e.evaluations()));
        let (plain, with_gradient) = costs.fold((0, 0), |sum, (steps, each)| {
            (sum.0 + steps * each.0, sum.1 + steps * each.1)
        });
        Evaluations {
            diffusion: self.start_steps * self.repeats,
            extractor: plain,
            extractor_gradient: with_gradient,
        }
    }
}
