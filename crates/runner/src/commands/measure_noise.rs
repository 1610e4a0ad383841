//! `egsde weights measure-noise`: what `variance: analytic` needs to know of a diffusion network.

use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::task::Task;
use crate::paths::path_parser;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::runtime::device::open_device;
use crate::runtime::progress::Progress;
use anyhow::Result;
use egsde_data::files::check_writable;
use egsde_models::networks::{Diffusion, NETWORK_KEY, NOISE_NORMS_KEY, NoiseNorms};
use egsde_models::weights::{WeightFile, read_safetensors, write_safetensors};
use egsde_sampler::analytic::{NoiseNormSettings, measure_noise_norms};
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

/// Arguments of `egsde weights measure-noise`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Task (configs/tasks) whose diffusion network is measured, on its reference pictures; they
    /// should be training pictures
    #[arg(long)]
    task: String,
    /// Where the weights go, with the measurement: safetensors
    #[arg(value_parser = path_parser())]
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

/// What is written, and in which precision.
struct Measured {
    weights: WeightFile,
    kind: Kind,
}

/// The task's diffusion weights with the measurement, in the precision in which they lie.
fn weights_with(
    task: &Task,
    project: &Project,
    diffusion: &Diffusion,
    norms: &NoiseNorms,
) -> Result<Measured> {
    let located = task.diffusion.locate(project)?;
    // A published checkpoint is no safetensors file: it has no metadata to keep.
    let file = read_safetensors(&located.path).unwrap_or_default();
    let is_half = |tensor: &Tensor| tensor.kind() == Kind::Half;
    let all_half = !file.tensors.is_empty() && file.tensors.values().all(is_half);
    let mut metadata = file.metadata;
    metadata.insert(NOISE_NORMS_KEY.into(), serde_json::to_string(norms)?);
    let config = task.diffusion.config(project)?;
    metadata.insert(NETWORK_KEY.into(), serde_json::to_string(&config)?);
    let tensors = diffusion.vs().variables().into_iter().collect();
    Ok(Measured {
        weights: WeightFile { tensors, metadata },
        kind: if all_half { Kind::Half } else { Kind::Float },
    })
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
    check_writable(&args.output).or_invalid_input("output")?;
    let task = Task::read(project, &args.task)?;
    let diffusion = task
        .diffusion
        .open_diffusion(project, args.device, Kind::Float)?;
    if diffusion.num_classes().is_some() {
        let text = format!(
            "task {}: its diffusion network is told of classes, whose noise is not measured",
            args.task
        );
        return Err(invalid_input(text));
    }
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
    let file = weights_with(&task, project, &diffusion, &norms)?;
    write_safetensors(&args.output, &file.weights, file.kind).or_invalid_input("cannot write")?;
    writeln!(stdout(), "{}", args.output.display())
}
