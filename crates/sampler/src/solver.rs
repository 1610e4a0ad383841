//! Solvers of the energy-guided reverse SDE and of its probability-flow ODE.
//!
//! A new solver is a variant of [`Solver`], a method of `Step`, the match arm that joins them,
//! and its arms in [`Solver::own_key`] and `Solver::adds_noise`.

use crate::schedule::{Schedule, Variance};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// How a reverse step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Ancestral sampling with DDPM's posterior mean and a fixed variance, as in EGSDE's code.
    Ancestral,
    /// Euler-Maruyama on the reverse SDE (the paper's Algorithm 1).
    EulerMaruyama,
    /// DDIM (Song et al. 2021) with `eta` from 0 (deterministic) to 1 (ancestral with the
    /// posterior's variance).
    Ddim,
    /// DPM-Solver++(2M) (Lu et al. 2022): second order, multistep, deterministic.
    DpmSolverPp,
    /// SDE-DPM-Solver++(2M) (Lu et al. 2022): second order, multistep, for the SDEs between the
    /// probability flow (`eta` 0, which is DPM-Solver++) and the reverse SDE (`eta` 1).
    SdeDpmSolverPp,
}

/// A key of a row that not every solver reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SolverKey {
    /// How much of the reverse SDE's noise is added.
    Eta {
        /// Its value in rows that give none.
        default: f64,
    },
    /// Which variance the ancestral solver adds.
    Variance,
}

/// Step `i` of a schedule: from its time to the time of step `i - 1`, or to the image for `i = 0`.
pub(crate) struct Step<'a> {
    pub schedule: &'a Schedule,
    pub i: usize,
    /// The sample at step `i`, `[n, 3, s, s]`.
    pub y: &'a Tensor,
    /// The noise that the diffusion network predicts in `y`, of the same shape.
    pub eps: &'a Tensor,
    /// Gradient of the energy with respect to `y`, of the same shape; none without any expert.
    pub gradient: Option<&'a Tensor>,
    /// How much of the reverse SDE's noise DDIM and SDE-DPM-Solver++ add, 0 to 1.
    pub eta: f64,
    /// Which variance the ancestral solver adds.
    pub variance: Variance,
    /// Mean square of the predicted noise at this step, where it was measured.
    pub mean_square: Option<f64>,
}

/// The distribution of the next sample: a Gaussian around `mean`.
pub(crate) struct StepOutput {
    /// `[n, 3, s, s]`.
    pub mean: Tensor,
    /// Standard deviation of the noise to add to the mean; 0 for a deterministic step.
    pub std: f64,
}

/// What a multistep solver keeps from one step to the next: the image predicted at the step before,
/// `[n, 3, s, s]`. A trajectory starts with `None`.
pub(crate) type SolverMemory = Option<Tensor>;

impl Solver {
    /// The key that only this solver reads, if there is one.
    pub fn own_key(self) -> Option<SolverKey> {
        match self {
            Self::Ancestral => Some(SolverKey::Variance),
            Self::Ddim => Some(SolverKey::Eta { default: 0.0 }),
            Self::SdeDpmSolverPp => Some(SolverKey::Eta { default: 1.0 }),
            Self::EulerMaruyama | Self::DpmSolverPp => None,
        }
    }

    /// Whether its steps but the last add noise; `eta` is the row's.
    pub(crate) fn adds_noise(self, eta: f64) -> bool {
        match self {
            Self::Ancestral | Self::EulerMaruyama => true,
            Self::Ddim | Self::SdeDpmSolverPp => eta != 0.0,
            Self::DpmSolverPp => false,
        }
    }

    /// Takes one step. `memory` belongs to one trajectory and is carried from step to step.
    pub(crate) fn step(self, step: &Step, memory: &mut SolverMemory) -> StepOutput {
        match self {
            Self::Ancestral => step.ancestral(),
            Self::EulerMaruyama => step.euler_maruyama(),
            Self::Ddim => step.ddim(),
            Self::DpmSolverPp => step.dpm_solver_pp(memory),
            Self::SdeDpmSolverPp => step.sde_dpm_solver_pp(memory),
        }
    }
}

/// Half the logarithm of the signal-to-noise ratio: ln(alpha / sigma).
fn half_log_snr(alpha_prod: f64) -> f64 {
    0.5 * (alpha_prod / (1.0 - alpha_prod)).ln()
}

/// The second-order data prediction of DPM-Solver++(2M).
struct SecondOrder {
    /// Extrapolated prediction of the image, `[n, 3, s, s]`.
    x0: Tensor,
    /// Step size in half log-SNR.
    h: f64,
}

impl Step<'_> {
    /// The cumulative alpha of this step.
    fn alpha_prod(&self) -> f64 {
        self.schedule.alphas_cumprod[self.i]
    }

    /// The cumulative alpha of step `i - 1`, to which this step leads.
    fn alpha_prod_prev(&self) -> f64 {
        self.schedule.alphas_cumprod_prev(self.i)
    }

    /// The ancestral step of DDPM, its mean moved against the energy's gradient:
    /// `(y - beta / sqrt(1 - alpha_prod) eps - beta grad E) / sqrt(1 - beta)`.
    fn ancestral(&self) -> StepOutput {
        let Self {
            schedule,
            i,
            y,
            eps,
            gradient,
            ..
        } = *self;
        let (beta, alpha_prod) = (schedule.betas[i], self.alpha_prod());
        let root = (1.0 - beta).sqrt();
        let mean = (y - eps * (beta / (1.0 - alpha_prod).sqrt())) / root;
        let mean = match gradient {
            Some(g) => mean - g * (beta / root),
            None => mean,
        };
        let std = (0.5 * schedule.log_variance(self.variance, i, self.mean_square)).exp();
        StepOutput { mean, std }
    }

    /// The Euler-Maruyama step `y - [f - g^2 (s - grad E)] h` with drift f and score s, where g^2 h
    /// is the step's integrated beta, `ln(alpha_prod_prev / alpha_prod)`.
    fn euler_maruyama(&self) -> StepOutput {
        let Self {
            y, eps, gradient, ..
        } = *self;
        let alpha_prod = self.alpha_prod();
        let g2h = (self.alpha_prod_prev() / alpha_prod).ln();
        let drift = y * -0.5 + eps / (1.0 - alpha_prod).sqrt();
        let mean = match gradient {
            Some(g) => y - (drift + g) * g2h,
            None => y - drift * g2h,
        };
        StepOutput {
            mean,
            std: g2h.sqrt(),
        }
    }

    /// The noise that corresponds to the guided score `s - grad E`, by
    /// `s = -eps / sqrt(1 - alpha_prod)`.
    fn guided_eps(&self) -> Tensor {
        match self.gradient {
            Some(g) => self.eps + g * (1.0 - self.alpha_prod()).sqrt(),
            None => self.eps.shallow_clone(),
        }
    }

    /// The prediction of the image x0 from `y`, given that `eps` is the noise in it.
    fn predicted_x0(&self, eps: &Tensor) -> Tensor {
        let alpha_prod = self.alpha_prod();
        (self.y - eps * (1.0 - alpha_prod).sqrt()) / alpha_prod.sqrt()
    }

    /// The DDIM step (Song et al. 2021, equation 12).
    fn ddim(&self) -> StepOutput {
        let (alpha_prod, alpha_prod_prev) = (self.alpha_prod(), self.alpha_prod_prev());
        let eps = self.guided_eps();
        let std = self.eta
            * ((1.0 - alpha_prod_prev) / (1.0 - alpha_prod)).sqrt()
            * (1.0 - alpha_prod / alpha_prod_prev).sqrt();
        let direction = (1.0 - alpha_prod_prev - std * std).max(0.0).sqrt();
        let mean = self.predicted_x0(&eps) * alpha_prod_prev.sqrt() + eps * direction;
        StepOutput { mean, std }
    }

    /// Extrapolates the image from the predictions of this step and the one before it (Lu et al.
    /// 2022, Algorithm 2). The first step has no prediction before it and is of first order.
    fn second_order(&self, x0: Tensor, x0_prev: Option<Tensor>) -> SecondOrder {
        let lambda = half_log_snr(self.alpha_prod());
        let h = half_log_snr(self.alpha_prod_prev()) - lambda;
        let Some(x0_prev) = x0_prev else {
            return SecondOrder { x0, h };
        };
        // The ratio of the previous step size to this one, in half log-SNR.
        let r = (lambda - half_log_snr(self.schedule.alphas_cumprod[self.i + 1])) / h;
        SecondOrder {
            x0: &x0 + (&x0 - x0_prev) / (2.0 * r),
            h,
        }
    }

    /// The step of DPM-Solver++(2M) (Algorithm 2, data prediction): that of the SDE without noise.
    fn dpm_solver_pp(&self, memory: &mut SolverMemory) -> StepOutput {
        self.second_order_step(0.0, memory)
    }

    /// The step of SDE-DPM-Solver++(2M) with `eta` of the reverse SDE's noise.
    fn sde_dpm_solver_pp(&self, memory: &mut SolverMemory) -> StepOutput {
        self.second_order_step(self.eta, memory)
    }

    /// The step of second order for the SDE whose noise has `eta^2` times the reverse SDE's
    /// variance rate: the exact solution of its linear part, with the image prediction
    /// extrapolated. The last step returns the predicted image, since the half log-SNR of the image
    /// itself is infinite.
    fn second_order_step(&self, eta: f64, memory: &mut SolverMemory) -> StepOutput {
        let x0 = self.predicted_x0(&self.guided_eps());
        let x0_prev = memory.replace(x0.shallow_clone());
        if self.i == 0 {
            return StepOutput { mean: x0, std: 0.0 };
        }
        let alpha_prod_prev = self.alpha_prod_prev();
        let SecondOrder { x0, h } = self.second_order(x0, x0_prev);
        let sigma_prev = (1.0 - alpha_prod_prev).sqrt();
        let ratio = sigma_prev / (1.0 - self.alpha_prod()).sqrt();
        let decay = eta * eta;
        let image_part = -(-(1.0 + decay) * h).exp_m1();
        let mean =
            self.y * (ratio * (-decay * h).exp()) + x0 * (alpha_prod_prev.sqrt() * image_part);
        let noise_variance = -(-2.0 * decay * h).exp_m1();
        StepOutput {
            mean,
            std: sigma_prev * noise_variance.sqrt(),
        }
    }
}
