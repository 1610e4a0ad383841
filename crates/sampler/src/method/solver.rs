//! How a reverse step is taken, the energy's gradient included.

use crate::schedule::{Schedule, Variance};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// How a reverse step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// The code's: DDPM's posterior mean and fixed variance.
    Ancestral,
    /// The paper's Algorithm 1: Euler-Maruyama on the reverse SDE.
    EulerMaruyama,
    /// Song et al. 2021 (DDIM), with `eta` from 0 (deterministic) to 1 (ancestral with the posterior's variance).
    Ddim,
    /// Lu et al. 2022, DPM-Solver++(2M): second order, multistep, deterministic.
    DpmSolverPp,
    /// The same for the reverse SDE: SDE-DPM-Solver++(2M).
    SdeDpmSolverPp,
}

/// Step `i` of a schedule: from its time to the time of step `i - 1`, or to the picture.
pub(super) struct Step<'a> {
    pub schedule: &'a Schedule,
    pub i: usize,
    /// The sample, `[n, 3, s, s]`.
    pub y: &'a Tensor,
    /// The noise the network finds in it.
    pub eps: &'a Tensor,
    /// Gradient of the energy.
    pub gradient: Option<&'a Tensor>,
}

/// Where a step leads: its mean, and the standard deviation of the noise to add.
pub(super) type Led = (Tensor, f64);

/// Half the logarithm of the signal-to-noise ratio: ln(alpha / sigma).
fn lambda(alpha_cumprod: f64) -> f64 {
    0.5 * (alpha_cumprod / (1.0 - alpha_cumprod)).ln()
}

impl Step<'_> {
    /// DDPM's step, its mean moved down the energy: `y - beta / sqrt(1 - a) eps`, then `- beta grad E`, over `sqrt(1 - beta)`.
    pub fn ancestral(&self, variance: Variance) -> Led {
        let Self {
            schedule,
            i,
            y,
            eps,
            gradient,
        } = *self;
        let (beta, a) = (schedule.betas[i], schedule.alphas_cumprod[i]);
        let root = (1.0 - beta).sqrt();
        let mean = (y - eps * (beta / (1.0 - a).sqrt())) / root;
        let mean = match gradient {
            Some(g) => mean - g * (beta / root),
            None => mean,
        };
        (mean, (0.5 * schedule.log_variance(variance, i)).exp())
    }

    /// `y - [f - g^2 (s - grad E)] h` with g^2 h the step's integrated beta: -ln(a_i / a_{i-1}).
    pub fn euler_maruyama(&self) -> Led {
        let Self {
            schedule,
            i,
            y,
            eps,
            gradient,
        } = *self;
        let a = schedule.alphas_cumprod[i];
        let g2h = (schedule.alphas_cumprod_prev(i) / a).ln();
        let drift = y * -0.5 + eps / (1.0 - a).sqrt();
        let mean = match gradient {
            Some(g) => y - (drift + g) * g2h,
            None => y - drift * g2h,
        };
        (mean, g2h.sqrt())
    }

    /// The noise of the guided score `s - grad E`, since `s = -eps / sqrt(1 - a)`.
    fn guided(&self) -> Tensor {
        match self.gradient {
            Some(g) => self.eps + g * (1.0 - self.schedule.alphas_cumprod[self.i]).sqrt(),
            None => self.eps.shallow_clone(),
        }
    }

    fn picture(&self, eps: &Tensor) -> Tensor {
        let a = self.schedule.alphas_cumprod[self.i];
        (self.y - eps * (1.0 - a).sqrt()) / a.sqrt()
    }

    /// DDIM, equation 12.
    pub fn ddim(&self, eta: f64) -> Led {
        let (a, before) = (
            self.schedule.alphas_cumprod[self.i],
            self.schedule.alphas_cumprod_prev(self.i),
        );
        let eps = self.guided();
        let deviation = eta * ((1.0 - before) / (1.0 - a)).sqrt() * (1.0 - a / before).sqrt();
        let direction = (1.0 - before - deviation * deviation).max(0.0).sqrt();
        (
            self.picture(&eps) * before.sqrt() + eps * direction,
            deviation,
        )
    }

    /// DPM-Solver++(2M), algorithm 2, in the form that predicts pictures; `last` is what the step before predicted, and is
    /// replaced. The first step and the last (to the picture itself) are of first order.
    pub fn dpm_solver_pp(&self, last: &mut Option<Tensor>, sde: bool) -> Led {
        let Self { schedule, i, y, .. } = *self;
        let (a, before) = (schedule.alphas_cumprod[i], schedule.alphas_cumprod_prev(i));
        let now = self.picture(&self.guided());
        let previous = last.replace(now.shallow_clone());
        if i == 0 {
            return (now, 0.0);
        }
        let h = lambda(before) - lambda(a);
        let target = match previous {
            Some(previous) => {
                let r = (lambda(a) - lambda(schedule.alphas_cumprod[i + 1])) / h;
                &now + (&now - previous) / (2.0 * r)
            }
            None => now,
        };
        let sigma = (1.0 - before).sqrt();
        let ratio = sigma / (1.0 - a).sqrt();
        if sde {
            let lost = -(-2.0 * h).exp_m1();
            (
                y * (ratio * (-h).exp()) + target * (before.sqrt() * lost),
                sigma * lost.sqrt(),
            )
        } else {
            (y * ratio - target * (before.sqrt() * (-h).exp_m1()), 0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::energy::{Energy, Expert, State, Weight};
    use crate::method::{Egsde, Evaluations, Method, Predictor, Solver, SourceNoise};
    use crate::noise::{Noise, PictureNoise};
    use crate::schedule::{Schedule, Variance, space_timesteps};
    use tch::{Device, Kind, Tensor};

    const MU: f64 = 0.3;
    const SIGMA: f64 = 0.4;

    /// The true noise prediction for pictures of independent N(MU, SIGMA^2) pixels.
    struct Gaussian(Schedule);

    impl Predictor for Gaussian {
        fn predict(&self, y: &Tensor, t: f64) -> Tensor {
            let a = self.0.alphas_cumprod[t as usize];
            (y - a.sqrt() * MU) * ((1.0 - a).sqrt() / (a * SIGMA * SIGMA + 1.0 - a))
        }
    }

    /// E = w / 2 |y|^2.
    struct Pull;

    impl Expert for Pull {
        fn weight(&self) -> Weight {
            Weight::Constant(0.4)
        }
        fn gradient(&self, state: &State) -> Tensor {
            state.y.shallow_clone()
        }
        fn evaluations(&self) -> (usize, usize) {
            (0, 0)
        }
    }

    fn noise(n: usize) -> PictureNoise {
        PictureNoise {
            seed: 3,
            names: (0..n).map(|i| format!("p{i}")).collect(),
            side: 16,
            device: Device::Cpu,
        }
    }

    /// Samples before they become pictures: the last one observed.
    fn sample(
        solver: Solver,
        eta: f64,
        steps: usize,
        share: f64,
        pictures: usize,
        guided: bool,
    ) -> Tensor {
        let diffusion = Gaussian(Schedule::ddpm());
        let schedule = Schedule::ddpm().respaced(&space_timesteps(1000, steps).unwrap());
        let energy = Energy(if guided { vec![Box::new(Pull)] } else { vec![] });
        let start_steps = (share * steps as f64).round() as usize;
        let variance = Variance::FixedSmall;
        let method = Egsde {
            diffusion: &diffusion,
            energy,
            schedule,
            start_steps,
            solver,
            eta,
            variance,
            source_noise: SourceNoise::Shared,
            repeats: 1,
        };
        assert_eq!(
            method.evaluations(),
            Evaluations {
                diffusion: start_steps,
                ..Default::default()
            }
        );
        let x0 = Tensor::zeros([pictures as i64, 3, 16, 16], (Kind::Float, Device::Cpu));
        let mut last = x0.shallow_clone();
        let _ = method
            .translate(&x0, &noise(pictures) as &dyn Noise, &mut |_, _, y| {
                last = y.shallow_clone()
            })
            .unwrap();
        last
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).square().mean(Kind::Double).sqrt().double_value(&[])
    }

    #[test]
    fn ddim_with_eta_1_is_the_ancestral_step_energy_included() {
        for guided in [false, true] {
            let of = |solver| sample(solver, 1.0, 20, 0.5, 2, guided);
            assert!(difference(&of(Solver::Ddim), &of(Solver::Ancestral)) < 1e-5);
        }
        let apart = difference(
            &sample(Solver::Ddim, 1.0, 20, 0.5, 2, true),
            &sample(Solver::Ddim, 1.0, 20, 0.5, 2, false),
        );
        assert!(apart > 0.01, "{apart}");
    }

    #[test]
    fn two_steps_of_dpm_solver_are_ddims() {
        let of = |solver| sample(solver, 0.0, 4, 0.5, 2, true);
        assert!(difference(&of(Solver::DpmSolverPp), &of(Solver::Ddim)) < 1e-5);
        assert!(
            difference(
                &sample(Solver::DpmSolverPp, 0.0, 8, 0.5, 2, true),
                &sample(Solver::Ddim, 0.0, 8, 0.5, 2, true)
            ) > 1e-4
        );
    }

    #[test]
    fn errors_fall_with_each_solvers_order() {
        // The probability flow keeps each pixel's place in its distribution: it is known where it ends.
        let start = noise(1).draw(crate::noise::Purpose::Start { repeat: 0 });
        let exact = |steps: usize| {
            let t = space_timesteps(1000, steps).unwrap()[steps / 2 - 1];
            let a = Schedule::ddpm().alphas_cumprod[t];
            let y = &start * (1.0 - a).sqrt();
            (y - a.sqrt() * MU) * (SIGMA / (a * SIGMA * SIGMA + 1.0 - a).sqrt()) + MU
        };
        // The last time is the schedule's first, where the sample is all but the picture.
        let error =
            |solver, steps| difference(&sample(solver, 0.0, steps, 0.5, 1, false), &exact(steps));
        let falls = |solver| error(solver, 40) / error(solver, 160);
        let (first, second) = (falls(Solver::Ddim), falls(Solver::DpmSolverPp));
        assert!(
            (2.5..6.5).contains(&first),
            "quartering the step cuts a first-order error to about a quarter: {first}"
        );
        assert!(
            second > 8.0,
            "and a second-order error to about a sixteenth: {second}"
        );
    }

    #[test]
    fn random_solvers_end_in_the_right_distribution() {
        // From all of T, so that nothing of the source is left; 32 x 768 values: the mean's standard error is 0.0026.
        for (solver, eta) in [
            (Solver::SdeDpmSolverPp, 0.0),
            (Solver::Ddim, 0.5),
            (Solver::DpmSolverPp, 0.0),
        ] {
            let y = sample(solver, eta, 400, 1.0, 32, false);
            let (mean, deviation) = (
                y.mean(Kind::Double).double_value(&[]),
                y.std(true).double_value(&[]),
            );
            assert!(
                (mean - MU).abs() < 0.012 && (deviation - SIGMA).abs() < 0.01,
                "{solver:?}: {mean} {deviation}"
            );
        }
    }
}
