//! ILVR (Choi et al. 2021) as in ilvr_adm: ancestral steps from pure noise, low frequencies replaced by the source's.

use super::{Evaluations, Method, Predictor, eps, times, to_picture};
use crate::low_pass::LowPass;
use crate::noise::{Noise, Purpose};
use crate::schedule::Schedule;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The variance of ILVR's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IlvrVariance {
    /// Interpolated between the posterior variance and beta by the network's last three channels (the published code).
    LearnedRange,
    /// The posterior variance, for networks without learned sigma.
    #[serde(rename = "fixedsmall")]
    FixedSmall,
}

/// All (respaced) steps from pure noise; while `i > range_t`: `y += Phi(q_sample(x0, i)) - Phi(y)`.
pub struct Ilvr<'a> {
    pub diffusion: &'a dyn Predictor,
    pub low_pass: &'a LowPass,
    pub schedule: Schedule,
    pub range_t: usize,
    pub variance: IlvrVariance,
    /// Clip the predicted x0 to [-1, 1].
    pub clip_denoised: bool,
}

impl Ilvr<'_> {
    /// Log of the posterior variance, its first entry replaced by the second (guided-diffusion's `posterior_log_variance_clipped`).
    fn clipped_log_variance(&self, i: usize) -> f64 {
        self.schedule
            .posterior_variance(i.max(1).min(self.schedule.len() - 1))
            .max(1e-20)
            .ln()
    }

    fn log_variance(&self, output: &Tensor, i: usize) -> Tensor {
        let small = self.clipped_log_variance(i);
        match self.variance {
            IlvrVariance::FixedSmall => times(output, small).reshape([-1, 1, 1, 1]),
            IlvrVariance::LearnedRange => {
                let fraction = (output.narrow(1, 3, 3) + 1.0) / 2.0;
                let large = self.schedule.betas[i].ln();
                &fraction * large + (1.0 - &fraction) * small
            }
        }
    }

    /// guided-diffusion's `p_sample`: mean of q(y_{i-1} | y_i, x0) at the predicted x0.
    fn p_sample(&self, y: &Tensor, noise: &dyn Noise, i: usize) -> Tensor {
        let s = &self.schedule;
        let (beta, a, previous) = (s.betas[i], s.alphas_cumprod[i], s.alphas_cumprod_prev(i));
        let output = self.diffusion.predict(y, s.timesteps[i]);
        let mut x0 = y * (1.0 / a).sqrt() - eps(&output) * (1.0 / a - 1.0).sqrt();
        if self.clip_denoised {
            x0 = x0.clamp(-1.0, 1.0);
        }
        let mean = x0 * (beta * previous.sqrt() / (1.0 - a))
            + y * ((1.0 - previous) * (1.0 - beta).sqrt() / (1.0 - a));
        if i == 0 {
            return mean;
        }
        let deviation = (self.log_variance(&output, i) * 0.5).exp();
        mean + deviation * noise.draw(Purpose::Step { repeat: 0, step: i })
    }

    fn q_sample(&self, x0: &Tensor, noise: &dyn Noise, i: usize) -> Tensor {
        let a = self.schedule.alphas_cumprod[i];
        x0 * a.sqrt() + noise.draw(Purpose::Source { repeat: 0, step: i }) * (1.0 - a).sqrt()
    }
}

impl Method for Ilvr<'_> {
    fn translate(
        &self,
        x0: &Tensor,
        noise: &dyn Noise,
        observe: &mut dyn FnMut(usize, usize, &Tensor),
    ) -> Result<Tensor> {
        ensure!(self.schedule.len() >= 2, "ILVR needs at least 2 steps");
        tch::no_grad(|| {
            let mut y = noise.draw(Purpose::Start { repeat: 0 });
            for i in (0..self.schedule.len()).rev() {
                y = self.p_sample(&y, noise, i);
                if i > self.range_t {
                    y = &y + self.low_pass.filter(&(self.q_sample(x0, noise, i) - &y));
                }
                observe(0, i, &y);
            }
            Ok(to_picture(&y))
        })
    }

    fn evaluations(&self) -> Evaluations {
        Evaluations {
            diffusion: self.schedule.len(),
            ..Default::default()
        }
    }
}
