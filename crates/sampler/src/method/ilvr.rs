//! ILVR (Choi et al. 2021) as in ilvr_adm: ancestral steps from pure noise, with low frequencies
//! replaced by the source's.

use super::{Method, MethodSettings, Predictor, eps, image_from_sample, keys, repeated_per_image};
use crate::cost::Evaluations;
use crate::energy::ExpertConfig;
use crate::generators::GeneratorName;
use crate::low_pass::{Kernel, LowPass};
use crate::noise::{Noise, Purpose};
use crate::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, space_timesteps};
use crate::settings::{Networks, TaskFacts};
use anyhow::{Context, Result, ensure};
use egsde_models::networks::Diffusion;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The variance of ILVR's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IlvrVariance {
    /// Interpolated between the posterior variance and beta by the network's last three channels,
    /// as in the published code.
    LearnedRange,
    /// The posterior variance, for networks without learned sigma.
    #[serde(rename = "fixedsmall")]
    FixedSmall,
}

/// Keys of an ILVR row.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IlvrConfig {
    /// Respaced steps of the whole of T (1 to 1000).
    #[serde(default = "default_steps", deserialize_with = "keys::steps")]
    pub steps: usize,
    /// An eighth of the image when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_pass_factor: Option<usize>,
    /// The respaced step down to which low frequencies are replaced; a fifth of the steps when left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_t: Option<usize>,
    /// The variance of its steps.
    #[serde(default = "default_ilvr_variance")]
    pub ilvr_variance: IlvrVariance,
    /// The class that the network is told, of those that it was trained with.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "keys::class_label"
    )]
    pub class_label: Option<i64>,
}

fn default_steps() -> usize {
    100
}

fn default_ilvr_variance() -> IlvrVariance {
    IlvrVariance::LearnedRange
}

/// All (respaced) steps from pure noise; while `i > range_t`: `y += Phi(q_sample(x0, i)) - Phi(y)`.
pub struct Ilvr<'a> {
    /// The noise predictor, trained on the target domain.
    pub diffusion: Box<dyn Predictor + 'a>,
    /// Phi.
    pub low_pass: LowPass,
    /// The (respaced) steps of the whole of T, at least 2.
    pub schedule: Schedule,
    /// The last step whose low frequencies are left alone, in steps of `schedule`.
    pub range_t: usize,
    /// The variance of the steps.
    pub variance: IlvrVariance,
    /// Whether the predicted x0 is clipped to [-1, 1].
    pub clip_denoised: bool,
}

impl Ilvr<'_> {
    /// Logarithm of the posterior variance, its first entry replaced by the second
    /// (guided-diffusion's `posterior_log_variance_clipped`).
    fn clipped_log_variance(&self, i: usize) -> f64 {
        let last = self.schedule.len() - 1;
        self.schedule
            .posterior_variance(i.max(1).min(last))
            .max(1e-20)
            .ln()
    }

    /// Logarithm of the step's variance, broadcastable to `[n, 3, s, s]`.
    fn log_variance(&self, output: &Tensor, i: usize) -> Tensor {
        let small = self.clipped_log_variance(i);
        match self.variance {
            IlvrVariance::FixedSmall => repeated_per_image(output, small).reshape([-1, 1, 1, 1]),
            IlvrVariance::LearnedRange => {
                let fraction = (output.narrow(1, 3, 3) + 1.0) / 2.0;
                let large = self.schedule.betas[i].ln();
                &fraction * large + (1.0 - &fraction) * small
            }
        }
    }

    /// guided-diffusion's `p_sample`: a draw from q(y_{i-1} | y_i, x0) at the predicted x0.
    fn p_sample(&self, y: &Tensor, noise: &dyn Noise, i: usize) -> Tensor {
        let (beta, alpha_prod) = (self.schedule.betas[i], self.schedule.alphas_cumprod[i]);
        let alpha_prod_prev = self.schedule.alphas_cumprod_prev(i);
        let output = self.diffusion.predict(y, self.schedule.timesteps[i]);
        let mut x0 = y * (1.0 / alpha_prod).sqrt() - eps(&output) * (1.0 / alpha_prod - 1.0).sqrt();
        if self.clip_denoised {
            x0 = x0.clamp(-1.0, 1.0);
        }
        let mean = x0 * (beta * alpha_prod_prev.sqrt() / (1.0 - alpha_prod))
            + y * ((1.0 - alpha_prod_prev) * (1.0 - beta).sqrt() / (1.0 - alpha_prod));
        if i == 0 {
            return mean;
        }
        let std = (self.log_variance(&output, i) * 0.5).exp();
        mean + std * noise.draw(Purpose::Step { repeat: 0, step: i })
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
                    let source = noise.draw(Purpose::Source { repeat: 0, step: i });
                    let source = self.schedule.perturb(x0, &source, i);
                    y = &y + self.low_pass.filter(&(source - &y));
                }
                observe(0, i, &y);
            }
            Ok(image_from_sample(&y))
        })
    }

    fn draws(&self) -> Vec<Purpose> {
        let repeat = 0;
        let mut draws = vec![Purpose::Start { repeat }];
        for step in (0..self.schedule.len()).rev() {
            if step > 0 {
                draws.push(Purpose::Step { repeat, step });
            }
            if step > self.range_t {
                draws.push(Purpose::Source { repeat, step });
            }
        }
        draws
    }
}

impl IlvrConfig {
    /// Checks that the network predicts the variance that the row takes from it.
    fn check_variance(&self, learns_sigma: bool) -> Result<()> {
        ensure!(
            self.ilvr_variance != IlvrVariance::LearnedRange || learns_sigma,
            "ilvr_variance is learned_range, but this network learned no sigma: set \
             ilvr_variance to fixedsmall"
        );
        Ok(())
    }
}

impl MethodSettings for IlvrConfig {
    fn unused_key(&self) -> Option<&'static str> {
        None
    }

    fn settle(&self, task: &TaskFacts) -> Result<Self> {
        ensure!(
            self.steps >= 2,
            "steps is {}: ILVR needs at least 2",
            self.steps
        );
        let range_t = self.range_t.unwrap_or(self.steps / 5);
        // Low frequencies are replaced after the steps above range_t; the first is `steps - 1`.
        let most = self.steps - 2;
        ensure!(
            range_t <= most,
            "range_t is {range_t}: with {} steps it must be 0 to {most}, else nothing of the \
             source is kept",
            self.steps
        );
        if let Some(diffusion) = task.diffusion {
            self.check_variance(diffusion.learns_sigma)?;
        }
        keys::check_known_classes(self.class_label, task)?;
        Ok(Self {
            low_pass_factor: Some(task.low_pass_factor(self.low_pass_factor)?),
            range_t: Some(range_t),
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
        Evaluations::for_ilvr(self.steps)
    }

    fn depends_on_seed(&self) -> bool {
        true
    }

    fn check_network(&self, diffusion: &Diffusion) -> Result<()> {
        self.check_variance(diffusion.learns_sigma())?;
        keys::check_class_label(self.class_label, diffusion.num_classes())
    }

    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Method + 'a>> {
        let factor = self
            .low_pass_factor
            .context("a settled row has its low_pass_factor")?;
        let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, self.steps)?;
        Ok(Box::new(Ilvr {
            diffusion: networks.predictor(self.class_label)?,
            low_pass: LowPass::new(networks.image_size, factor, Kernel::Cubic, networks.device)?,
            schedule: Schedule::ddpm().respaced(&timesteps),
            range_t: self.range_t.context("a settled row has its range_t")?,
            variance: self.ilvr_variance,
            clip_denoised: true,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::DiffusionFacts;

    fn settle(keys: &str, learns_sigma: Option<bool>) -> Result<IlvrConfig> {
        let config: IlvrConfig = serde_json::from_str(keys)?;
        config.settle(&TaskFacts {
            name: "t",
            image_size: 32,
            classes: &[],
            diffusion: learns_sigma.map(|learns_sigma| DiffusionFacts {
                learns_sigma,
                num_classes: None,
            }),
            target: "dog",
            stargan_v2_domains: None,
        })
    }

    #[test]
    fn a_range_that_keeps_nothing_of_the_source_is_refused() {
        let range = |range_t: usize| {
            let keys = format!(r#"{{"steps": 5, "range_t": {range_t}}}"#);
            settle(&keys, None)
        };
        assert_eq!(range(3).unwrap().range_t, Some(3));
        for range_t in [4, 20] {
            let error = range(range_t).unwrap_err().to_string();
            assert!(error.contains("must be 0 to 3"), "{error}");
        }
        let error = settle(r#"{"steps": 1}"#, None).unwrap_err().to_string();
        assert!(error.contains("at least 2"), "{error}");
    }

    #[test]
    fn a_network_without_sigma_is_told_as_soon_as_it_is_known() {
        let keys = r#"{"steps": 5}"#;
        assert!(settle(keys, None).is_ok() && settle(keys, Some(true)).is_ok());
        let error = settle(keys, Some(false)).unwrap_err().to_string();
        assert!(error.contains("fixedsmall"), "{error}");
    }
}
