//! `egsde weights measure-noise`: what `variance: analytic` needs to know of a diffusion network.

use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::task::Task;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::runtime::device::open_device;
use crate::runtime::progress::Progress;
use anyhow::Result;
use egsde_models::networks::{NETWORK_KEY, NOISE_NORMS_KEY};
use egsde_models::weights::{read_safetensors, write_safetensors};
use egsde_sampler::analytic::{NoiseNormSettings, measure_noise_norms};
use std::path::PathBuf;
use tch::{Device, Kind};

/// Arguments of `egsde weights measure-noise`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Task (configs/tasks) whose diffusion network is measured, on its reference pictures; they
    /// should be training pictures
    #[arg(long)]
    task: String,
    /// Where the weights go, with the measurement: safetensors
    output: PathBuf,
    /// Number of pictures
    #[arg(long, default_value_t = 256)]
    pictures: usize,
    /// Number of time indices, evenly over T
    #[arg(long, default_value_t = 51)]
    times: usize,
    /// Pictures per call of the network
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    /// Where to compute: cpu or cuda:0
    #[arg(long, default_value = "cpu", value_parser = open_device)]
    device: Device,
}

/// Runs the command.
///
/// # Errors
/// Invalid input: an unknown task, files that are missing, or an output that cannot be written or
/// exists.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    if args.output.exists() {
        let text = format!("{} exists: name another file", args.output.display());
        return Err(invalid_input(text));
    }
    let task = Task::read(project, &args.task)?;
    let located = task.diffusion.locate(project)?;
    let mut file = read_safetensors(&located.path).or_invalid_input(located.path.display())?;
    let diffusion = task
        .diffusion
        .open_diffusion(project, args.device, Kind::Float)?;
    let images = task
        .reference
        .load(project, task.image_size, args.pictures)?;
    let settings = NoiseNormSettings {
        times: args.times,
        batch_size: args.batch_size.max(1),
        seed: 0,
    };
    let total = (images.len() * args.times) as u64;
    let mut bar = Progress::new("measure-noise", "evaluations", total);
    let x0 = images.tensor().to_device(args.device) * 2.0 - 1.0;
    let norms = measure_noise_norms(&diffusion, &x0, &settings, &mut |n| bar.add(n, ""))?;
    bar.finish();
    file.metadata
        .insert(NOISE_NORMS_KEY.into(), serde_json::to_string(&norms)?);
    if let Some(config) = located.config {
        file.metadata
            .insert(NETWORK_KEY.into(), serde_json::to_string(&config)?);
    }
    write_safetensors(&args.output, &file, Kind::Half).or_invalid_input("cannot write")?;
    writeln!(stdout(), "{}", args.output.display())
}
