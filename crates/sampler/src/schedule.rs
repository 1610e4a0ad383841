//! The variance-preserving noise schedule of DDPM and its respaced versions.

use anyhow::{Result, ensure};

/// beta, cumulative alpha and posterior variance for each (respaced) step; index 0 is the least noised.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Time index in 0..1000 that the networks get for each step.
    pub timesteps: Vec<f64>,
    pub betas: Vec<f64>,
    /// Products of `1 - beta` up to and including the step.
    pub alphas_cumprod: Vec<f64>,
}

/// Which fixed variance a step adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variance {
    /// The posterior variance, clamped at 1e-20.
    FixedSmall,
    /// beta.
    FixedLarge,
}

impl Schedule {
    /// The linear schedule from `start` to `end` over `steps`.
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

    /// T = 1000, beta from 1e-4 to 0.02: what all published networks were trained with. In float64, as guided-diffusion
    /// (and so ILVR) keeps it.
    pub fn ddpm() -> Self {
        Self::linear(1e-4, 0.02, 1000)
    }

    /// The same values rounded to float32, as EGSDE's code keeps them; the first posterior variances notice.
    pub fn in_float32(&self) -> Self {
        let round = |values: &[f64]| {
            values
                .iter()
                .map(|v| f64::from(*v as f32))
                .collect::<Vec<f64>>()
        };
        let betas = round(&self.betas);
        let alphas: Vec<f64> = betas.iter().map(|b| f64::from(1.0 - *b as f32)).collect();
        let alphas_cumprod = round(&cumprod(&alphas));
        Self {
            timesteps: self.timesteps.clone(),
            betas,
            alphas_cumprod,
        }
    }

    /// Keeps only the steps at `timesteps` (ascending indices into this schedule); betas are recomputed so that
    /// the cumulative alphas agree there (guided-diffusion `SpacedDiffusion`). All steps: this very schedule, since betas
    /// recomputed from rounded cumulative alphas lose digits at the first steps.
    pub fn respaced(&self, timesteps: &[usize]) -> Self {
        if timesteps.len() == self.len() {
            return self.clone();
        }
        let mut last = 1.0;
        let mut respaced = Self {
            timesteps: vec![],
            betas: vec![],
            alphas_cumprod: vec![],
        };
        for &i in timesteps {
            let alpha = self.alphas_cumprod[i];
            respaced.timesteps.push(self.timesteps[i]);
            respaced.betas.push(1.0 - alpha / last);
            last = alpha;
        }
        respaced.alphas_cumprod = cumprod(&alphas(&respaced.betas));
        respaced
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.betas.is_empty()
    }

    /// Cumulative alpha before step `i`; 1 before the first.
    pub fn alphas_cumprod_prev(&self, i: usize) -> f64 {
        if i == 0 {
            1.0
        } else {
            self.alphas_cumprod[i - 1]
        }
    }

    /// Variance of q(y_{i-1} | y_i, y_0) without the clamp; 0 at the first step.
    pub fn posterior_variance(&self, i: usize) -> f64 {
        self.betas[i] * (1.0 - self.alphas_cumprod_prev(i)) / (1.0 - self.alphas_cumprod[i])
    }

    /// Logarithm of the variance a step adds (`logvar_fixedsmall`, `logvar_fixedlarge`).
    pub fn log_variance(&self, variance: Variance, i: usize) -> f64 {
        match variance {
            Variance::FixedSmall => self.posterior_variance(i).max(1e-20).ln(),
            Variance::FixedLarge => self.betas[i].ln(),
        }
    }
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
        let chosen = space_timesteps(1000, 50).unwrap();
        let spaced = full.respaced(&chosen);
        for (k, &i) in chosen.iter().enumerate() {
            assert!((spaced.alphas_cumprod[k] - full.alphas_cumprod[i]).abs() < 1e-12);
        }
        assert_eq!((chosen[0], chosen[49]), (0, 999));
        let rounded = full.in_float32();
        assert_eq!(rounded.respaced(&(0..1000).collect::<Vec<_>>()), rounded);
    }

    #[test]
    fn too_many_steps_are_refused() {
        assert!(space_timesteps(1000, 1001).is_err());
        assert!(space_timesteps(1000, 0).is_err());
        assert_eq!(space_timesteps(1000, 1).unwrap(), [0]);
    }
}
