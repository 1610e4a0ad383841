//! Measures what the analytic variance needs: the mean square of a network's predicted noise (Bao
//! et al. 2022, "Analytic-DPM", equation 8).

use crate::method::{Predictor, eps};
use crate::noise::{ImageNoise, Noise, Purpose};
use crate::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, space_timesteps};
use anyhow::Result;
use egsde_models::networks::NoiseNorms;
use tch::{Kind, Tensor};

/// Images noised to one time index after the other.
pub struct NoiseNormSettings {
    /// Number of time indices, evenly over T, the first and the last included.
    pub times: usize,
    /// Images per call of the network.
    pub batch_size: usize,
    /// Seed of the noise.
    pub seed: u64,
}

/// Mean square of the noise that `predictor` predicts in `images` `[n, 3, s, s]` in [-1, 1] from
/// its training distribution, at each of the times. `count_images` is called with the number of
/// images after each batch.
///
/// # Errors
/// No time or more than T of them, or a prediction that is not finite.
pub fn measure_noise_norms(
    predictor: &dyn Predictor,
    images: &Tensor,
    settings: &NoiseNormSettings,
    count_images: &mut dyn FnMut(u64),
) -> Result<NoiseNorms> {
    let schedule = Schedule::ddpm().in_float32();
    let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, settings.times)?;
    let mut means = Vec::with_capacity(timesteps.len());
    for (index, t) in timesteps.iter().enumerate() {
        let mut sum = 0.0;
        for (batch, x0) in images
            .split(settings.batch_size as i64, 0)
            .iter()
            .enumerate()
        {
            let noise = ImageNoise {
                seed: settings.seed,
                names: image_names(batch * settings.batch_size, x0.size()[0] as usize),
                side: x0.size()[3] as usize,
                device: x0.device(),
            };
            let noise = noise.draw(Purpose::Start { repeat: index });
            let xt = schedule.perturb(x0, &noise, *t);
            let predicted = tch::no_grad(|| eps(&predictor.predict(&xt, *t as f64)));
            sum += predicted.square().sum(Kind::Double).double_value(&[]);
            count_images(x0.size()[0] as u64);
        }
        means.push(sum / images.numel() as f64);
    }
    NoiseNorms::new(timesteps.iter().map(|t| *t as f64).collect(), means)
}

/// Names that key the noise of each image.
fn image_names(first: usize, count: usize) -> Vec<String> {
    (first..first + count).map(|i| i.to_string()).collect()
}
