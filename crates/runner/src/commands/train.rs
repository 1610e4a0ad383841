//! `egsde train`: trains a network of the embedded scale and writes its weights.

use crate::config::precision::Precision;
use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::archive::ArchiveManifest;
use crate::project::Project;
use crate::runtime::device::open_device;
use crate::runtime::progress::Progress;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_data::cifar10::Cifar10;
use egsde_data::files::sha256_file;
use egsde_models::weights::write_safetensors;
use egsde_training::{Event, Recipe, TrainingOptions, train};
use std::path::PathBuf;
use tch::{Device, Kind};

/// Arguments of `egsde train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recipe file, for example configs/training/features.yaml.
    recipe: PathBuf,
    /// Where to compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = open_device)]
    device: Device,
    /// Working precision of the network.
    #[arg(long, value_enum, default_value_t = TrainingPrecision::Auto)]
    precision: TrainingPrecision,
    /// Folder of checkpoints and the loss log, resumed from when it has any.
    #[arg(long, default_value = ".training")]
    checkpoints: PathBuf,
    /// Stop after this step and leave a checkpoint.
    #[arg(long)]
    stop_at: Option<u64>,
}

/// Working precision of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TrainingPrecision {
    /// bfloat16 where the device computes in it, float32 elsewhere.
    Auto,
    /// float32.
    F32,
    /// float32 whose products and convolutions an NVIDIA GPU rounds to 10 bits of mantissa.
    Tf32,
    /// bfloat16.
    Bf16,
}

impl TrainingPrecision {
    /// The precision on a device.
    fn on_device(self, device: Device) -> Precision {
        match self {
            Self::Auto if device.is_cuda() || egsde_models::processor_has_bf16() => Precision::Bf16,
            Self::Auto | Self::F32 => Precision::F32,
            Self::Tf32 => Precision::Tf32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

/// Shows what training reports.
fn show_event(event: Event, recipe: &Recipe, bar: &mut Progress) {
    match event {
        Event::Resumed { step } => {
            bar.print_line(&format!("{}: resumed at step {step}", recipe.name));
            bar.skip(step);
        }
        Event::Step {
            step,
            loss,
            learning_rate,
        } => {
            bar.set(step, &format!("loss {loss:.4} lr {learning_rate:.1e}"));
        }
        Event::Checkpoint { .. } => {}
    }
}

/// Runs the command.
///
/// # Errors
/// Invalid input: a mistake in the recipe, a data set that is missing, or a precision in which the
/// device does not compute. Those of [`train`].
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let recipe: Recipe = read_yaml(&args.recipe)?;
    recipe.check().or_invalid_input(args.recipe.display())?;
    let manifest: ArchiveManifest = read_yaml(&project.cifar10_manifest())?;
    let archive = manifest.locate(project)?;
    let data = Cifar10::open(&archive.path)?;
    let precision = args.precision.on_device(args.device);
    precision.prepare(args.device).map_err(invalid_input)?;
    // Training is random in any case, and a fixed order of sums costs time on a GPU.
    egsde_models::cuda::set_deterministic(false);
    let folder = args.checkpoints.join(&recipe.name);
    eprintln!(
        "{}: {} steps of {} in {precision}, checkpoints in {}",
        recipe.name,
        recipe.steps,
        recipe.batch_size,
        folder.display()
    );
    let options = TrainingOptions {
        device: args.device,
        kind: precision.kind(),
        folder,
        data_sha256: archive.sha256,
        stop_at: args.stop_at,
    };
    let mut bar = Progress::new(&recipe.name, "steps", recipe.steps);
    let outcome = train(&recipe, &data, &options, |event| {
        show_event(event, &recipe, &mut bar)
    })?;
    bar.finish();
    let path = project.resolve(&recipe.output);
    write_safetensors(&path, &outcome.weights, Kind::Half)?;
    let evaluation = serde_json::to_string(&outcome.evaluation)?;
    println!("{}: step {}, {evaluation}", recipe.name, outcome.step);
    println!("{} {}", sha256_file(&path)?, path.display());
    Ok(())
}
