//! The variance-preserving noise schedule of DDPM and its respaced versions.

use anyhow::{Result, ensure};
use tch::Tensor;

/// T: the steps of the schedule that the networks were trained with. Their time indices lie in
/// `0..NUM_TRAIN_TIMESTEPS`.
pub const NUM_TRAIN_TIMESTEPS: usize = 1000;

/// t / T of a time index, in [0, 1).
pub fn t_frac(timestep: f64) -> f64 {
    timestep / NUM_TRAIN_TIMESTEPS as f64
}

/// Time index, beta and cumulative alpha of each (respaced) step; step 0 is the least noised.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Time index in `0..NUM_TRAIN_TIMESTEPS` that the networks get at each step.
    pub timesteps: Vec<f64>,
    /// Variance of the noise that the forward process adds at each step, in (0, 1).
    pub betas: Vec<f64>,
    /// Products of `1 - beta` up to and including the step, in (0, 1), falling.
    pub alphas_cumprod: Vec<f64>,
}

/// Which variance an ancestral step adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variance {
    /// The posterior variance, at least 1e-20 (DDPM, section 3.2).
    FixedSmall,
    /// The step's beta (DDPM, section 3.2).
    FixedLarge,
    /// The optimal one for the network's own mean squared noise prediction (Bao et al. 2022,
    /// "Analytic-DPM", theorem 1).
    Analytic,
}

impl Schedule {
    /// The schedule whose beta rises linearly from `start` to `end` over `steps`.
    pub fn linear(start: f64, end: f64, steps: usize) -> Self {
        let last = (steps.max(2) - 1) as f64;
        let betas: Vec<f64> = (0..steps)
            .map(|i| start + (end - start) * i as f64 / last)
            .collect();
        let alphas_cumprod = cumprod(&alphas(&betas));
        Self {
            timesteps: (0..steps).map(|i| i as f64).collect(),
            betas,
            alphas_cumprod,
        }
    }

    /// Beta from 1e-4 to 0.02 over [`NUM_TRAIN_TIMESTEPS`] steps: the schedule of all published
    /// networks. Values are float64, as guided-diffusion (and so ILVR) keeps them.
    pub fn ddpm() -> Self {
        Self::linear(1e-4, 0.02, NUM_TRAIN_TIMESTEPS)
    }

    /// The same schedule with values rounded to float32, as EGSDE's code keeps them. The posterior
    /// variances of the first steps differ visibly.
    pub fn in_float32(&self) -> Self {
        let betas = rounded_to_float32(&self.betas);
        let alphas: Vec<f64> = betas.iter().map(|b| f64::from(1.0 - *b as f32)).collect();
        let alphas_cumprod = rounded_to_float32(&cumprod(&alphas));
        Self {
            timesteps: self.timesteps.clone(),
            betas,
            alphas_cumprod,
        }
    }

    /// Keeps only the steps at `timesteps` (ascending indices into this schedule). Betas are
    /// recomputed so that the cumulative alphas agree there (guided-diffusion's `SpacedDiffusion`).
    /// With all steps the schedule stays as it is, since betas recomputed from rounded cumulative
    /// alphas lose digits at the first steps.
    pub fn respaced(&self, timesteps: &[usize]) -> Self {
        if timesteps.len() == self.len() {
            return self.clone();
        }
        let mut alpha_prod_prev = 1.0;
        let mut respaced = Self {
            timesteps: vec![],
            betas: vec![],
            alphas_cumprod: vec![],
        };
        for &i in timesteps {
            let alpha_prod = self.alphas_cumprod[i];
            respaced.timesteps.push(self.timesteps[i]);
            respaced.betas.push(1.0 - alpha_prod / alpha_prod_prev);
            alpha_prod_prev = alpha_prod;
        }
        respaced.alphas_cumprod = cumprod(&alphas(&respaced.betas));
        respaced
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// Whether the schedule has no steps.
    pub fn is_empty(&self) -> bool {
        self.betas.is_empty()
    }

    /// Cumulative alpha at step `i - 1`; 1 at the image itself.
    pub fn alphas_cumprod_prev(&self, i: usize) -> f64 {
        if i == 0 {
            1.0
        } else {
            self.alphas_cumprod[i - 1]
        }
    }

    /// q(y_i | y_0): images at the time of step `i`, under standard normal noise of their shape.
    pub fn perturb(&self, images: &Tensor, noise: &Tensor, i: usize) -> Tensor {
        let alpha_prod = self.alphas_cumprod[i];
        images * alpha_prod.sqrt() + noise * (1.0 - alpha_prod).sqrt()
    }

    /// Variance of q(y_{i-1} | y_i, y_0), without a lower bound; 0 at step 0.
    pub fn posterior_variance(&self, i: usize) -> f64 {
        self.betas[i] * (1.0 - self.alphas_cumprod_prev(i)) / (1.0 - self.alphas_cumprod[i])
    }

    /// The optimal variance of a reverse step whose mean has the posterior's form, for a network
    /// whose predicted noise at step `i` has this mean square (Bao et al. 2022, equation 8).
    ///
    /// At the last step that adds noise it is the posterior variance: the image shows that noise,
    /// and the optimal one would be visible there (the paper clips the same step, section G.1).
    pub fn analytic_variance(&self, i: usize, mean_square: f64) -> f64 {
        let lower = self.posterior_variance(i);
        if i <= 1 {
            return lower;
        }
        let noise = 1.0 - self.alphas_cumprod[i];
        let noise_prev = 1.0 - self.alphas_cumprod_prev(i);
        let reach = (noise / (1.0 - self.betas[i])).sqrt() - (noise_prev - lower).sqrt();
        lower + reach * reach * (1.0 - mean_square).max(0.0)
    }

    /// Logarithm of the variance that an ancestral step adds (`logvar_fixedsmall` and
    /// `logvar_fixedlarge` of EGSDE's code). `mean_square` is that of the predicted noise at this
    /// step; without it the analytic variance is its lower bound, the posterior's.
    pub fn log_variance(&self, variance: Variance, i: usize, mean_square: Option<f64>) -> f64 {
        let variance = match variance {
            Variance::FixedSmall => self.posterior_variance(i),
            Variance::FixedLarge => return self.betas[i].ln(),
            Variance::Analytic => self.analytic_variance(i, mean_square.unwrap_or(1.0)),
        };
        variance.max(1e-20).ln()
    }
}

fn rounded_to_float32(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v as f32)).collect()
}

/// `1 - beta` of each step.
fn alphas(betas: &[f64]) -> Vec<f64> {
    betas.iter().map(|beta| 1.0 - beta).collect()
}

/// Running products.
fn cumprod(alphas: &[f64]) -> Vec<f64> {
    alphas
        .iter()
        .scan(1.0, |product, alpha| {
            *product *= alpha;
            Some(*product)
        })
        .collect()
}

/// `count` of `total` steps as guided-diffusion's `space_timesteps(total, [count])` picks them:
/// evenly, the first and the last included, rounded half to even.
///
/// # Errors
/// `count` is 0 or more than `total`.
pub fn space_timesteps(total: usize, count: usize) -> Result<Vec<usize>> {
    ensure!(
        count >= 1 && count <= total,
        "cannot take {count} of {total} steps: choose 1 to {total}"
    );
    let stride = if count == 1 {
        1.0
    } else {
        (total - 1) as f64 / (count - 1) as f64
    };
    let mut at = 0.0f64;
    let mut chosen = Vec::with_capacity(count);
    for _ in 0..count {
        chosen.push(at.round_ties_even() as usize);
        at += stride;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn respacing_keeps_the_cumulative_alphas() {
        let full = Schedule::ddpm();
        let chosen = space_timesteps(NUM_TRAIN_TIMESTEPS, 50).unwrap();
        let spaced = full.respaced(&chosen);
        for (k, &i) in chosen.iter().enumerate() {
            assert!((spaced.alphas_cumprod[k] - full.alphas_cumprod[i]).abs() < 1e-12);
        }
        assert_eq!((chosen[0], chosen[49]), (0, 999));
        let rounded = full.in_float32();
        assert_eq!(
            rounded.respaced(&(0..NUM_TRAIN_TIMESTEPS).collect::<Vec<_>>()),
            rounded
        );
    }

    /// For images of independent N(0, s^2) pixels the reverse step is Gaussian with a known
    /// variance, which the analytic one must be.
    #[test]
    fn the_analytic_variance_is_the_true_one_of_gaussian_images() {
        let s2 = 0.16;
        let schedule = Schedule::ddpm().respaced(&space_timesteps(1000, 20).unwrap());
        for i in 2..20 {
            let (a, a_prev) = (schedule.alphas_cumprod[i], schedule.alphas_cumprod_prev(i));
            let (v, v_prev) = (a * s2 + 1.0 - a, a_prev * s2 + 1.0 - a_prev);
            let step = a / a_prev;
            let exact = v_prev * (1.0 - step) / v;
            let mean_square = (1.0 - a) / v;
            let analytic = schedule.analytic_variance(i, mean_square);
            assert!(
                (analytic / exact - 1.0).abs() < 1e-9,
                "{i}: {analytic} {exact}"
            );
            assert!(analytic > schedule.posterior_variance(i));
        }
        assert_eq!(
            schedule.analytic_variance(1, 0.5),
            schedule.posterior_variance(1)
        );
    }

    #[test]
    fn too_many_steps_and_none_are_refused() {
        assert!(space_timesteps(NUM_TRAIN_TIMESTEPS, NUM_TRAIN_TIMESTEPS + 1).is_err());
        assert!(space_timesteps(NUM_TRAIN_TIMESTEPS, 0).is_err());
        assert_eq!(space_timesteps(NUM_TRAIN_TIMESTEPS, 1).unwrap(), [0]);
    }
}
