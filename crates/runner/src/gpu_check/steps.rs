//! Milliseconds per step, memory, and whether the same steps give the same images twice.

use super::Setting;
use super::scale::{FormulaNetworks, Scale, SteppedMethod};
use crate::run::pipeline::draws_ahead;
use crate::runtime::console::log;
use crate::runtime::memory::{OutOfMemory, within_memory};
use anyhow::Result;
use egsde_metrics::averages::median;
use egsde_models::cuda::take_peak_bytes;
use egsde_models::networks::seconds_in_networks;
use egsde_models::synthetic;
use egsde_sampler::method::MethodSettings;
use egsde_sampler::noise::{ImageNoise, draw_ahead};
use std::time::Instant;
use tch::{Device, Tensor};

/// Steps of the shorter of two translations. The difference to the longer one holds no start and
/// no end.
const FEW_STEPS: usize = 3;

/// Times each of the two is measured.
const ROUNDS: usize = 3;

/// What a method's steps took.
#[derive(Debug, Clone)]
pub struct StepTimes {
    /// The method.
    pub method: SteppedMethod,
    /// How the networks compute.
    pub setting: Setting,
    /// None where the device had no room for the batch.
    pub measured: Option<Measured>,
}

/// The numbers of one method in one setting.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Milliseconds of one step of the whole batch.
    pub milliseconds: f64,
    /// Milliseconds of these in which the networks computed.
    pub network_milliseconds: f64,
    /// The most bytes that tensors took on the device, the networks of all methods included; none
    /// on a CPU.
    pub peak_bytes: Option<u64>,
    /// Whether the same steps gave the same images twice, to the bit.
    pub repeats: bool,
}

/// One translation and what it took.
struct Timed {
    seconds: f64,
    network_seconds: f64,
    images: Tensor,
}

/// What all translations of a scale and setting share.
struct Bench<'a> {
    scale: &'a Scale,
    networks: FormulaNetworks,
    x0: Tensor,
    noise: ImageNoise,
}

impl<'a> Bench<'a> {
    fn new(scale: &'a Scale, device: Device, setting: Setting, batch: usize) -> Result<Self> {
        let side = scale.side as i64;
        let x0 = synthetic::uniform("check-gpu.x0", &[batch as i64, 3, side, side]) * 0.5;
        Ok(Self {
            scale,
            networks: scale.open(device, setting.precision.kind())?,
            x0: x0.to_device(device),
            noise: ImageNoise {
                seed: 1,
                names: (0..batch).map(|i| format!("p{i}")).collect(),
                side: scale.side,
                device,
            },
        })
    }

    /// Translates the batch as a job does.
    fn translate(&self, method: SteppedMethod, steps: usize) -> Result<Timed> {
        let settings = self.scale.settings(method, steps)?;
        let method = settings.build(&self.networks.networks())?;
        let order = draws_ahead(method.as_ref(), self.noise.device);
        let (began, before) = (Instant::now(), seconds_in_networks());
        let images = draw_ahead(&self.noise, &order, |noise| {
            method.translate(&self.x0, noise, &mut |_, _, _| {})
        })?;
        let images = images.to_device(Device::Cpu);
        Ok(Timed {
            seconds: began.elapsed().as_secs_f64(),
            network_seconds: seconds_in_networks() - before,
            images,
        })
    }

    fn measure(&self, method: SteppedMethod, steps: usize) -> Result<Measured> {
        let device = self.noise.device;
        // The first one loads kernels and fills the caches.
        let first = self.translate(method, FEW_STEPS)?;
        let _ = take_peak_bytes(device);
        let (mut seconds, mut network_seconds) = (Vec::new(), Vec::new());
        let mut repeats = true;
        for _ in 0..ROUNDS {
            let few = self.translate(method, FEW_STEPS)?;
            let many = self.translate(method, FEW_STEPS + steps)?;
            repeats &= few.images.equal(&first.images);
            seconds.push(many.seconds - few.seconds);
            network_seconds.push(many.network_seconds - few.network_seconds);
        }
        Ok(Measured {
            milliseconds: 1e3 * median(seconds) / steps as f64,
            network_milliseconds: 1e3 * median(network_seconds) / steps as f64,
            peak_bytes: take_peak_bytes(device),
            repeats,
        })
    }
}

/// Times `steps` steps of every method in each of `settings`, in batches of `batch` images.
///
/// # Errors
/// A configuration that cannot be built; memory that runs out is a row without numbers.
pub fn time_steps(
    scale: &Scale,
    device: Device,
    settings: &[Setting],
    batch: usize,
    steps: usize,
) -> Result<Vec<StepTimes>> {
    let mut rows = Vec::new();
    for setting in settings {
        setting.prepare(device)?;
        let bench = Bench::new(scale, device, *setting, batch)?;
        for method in SteppedMethod::ALL {
            let measured = match within_memory(|| bench.measure(method, steps))? {
                Ok(measured) => Some(measured),
                Err(OutOfMemory(text)) => {
                    let name = method.name();
                    writeln!(
                        log(),
                        "check-gpu: {name} in {setting}: no memory for {batch}: {text}"
                    );
                    None
                }
            };
            if let Some(measured) = measured {
                writeln!(
                    log(),
                    "check-gpu: {} in {setting}: {:.1} ms per step",
                    method.name(),
                    measured.milliseconds
                );
            }
            rows.push(StepTimes {
                method,
                setting: *setting,
                measured,
            });
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_scale_is_timed_on_a_cpu() {
        let scale = Scale::small().unwrap();
        let rows = time_steps(&scale, Device::Cpu, &Setting::ALL[..1], 2, 2).unwrap();
        let methods: Vec<_> = rows.iter().map(|row| row.method).collect();
        assert_eq!(methods, SteppedMethod::ALL);
        for row in rows {
            let measured = row.measured.unwrap();
            assert!(
                measured.repeats && measured.peak_bytes.is_none(),
                "{measured:?}"
            );
        }
    }
}
