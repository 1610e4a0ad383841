//! `egsde train RECIPE`: trains a network of the embedded scale and writes its weights.

use crate::dataset::ArchiveManifest;
use crate::error::{Problem, UserError};
use crate::progress::Progress;
use crate::spec::Precision;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_metrics::cifar10::Cifar10;
use egsde_models::files::sha256_file;
use egsde_models::weights::write_safetensors;
use egsde_training::{Event, Recipe, Setting, train};
use std::path::{Path, PathBuf};
use tch::Kind;

/// Arguments of `egsde train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recipe file, for example experiments/training/features.yaml.
    recipe: PathBuf,
    /// Where to compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = crate::device::open_device)]
    device: tch::Device,
    /// Working precision; auto takes bf16 where the processor computes in it.
    #[arg(long, default_value = "auto", value_parser = ["auto", "f32", "tf32", "bf16"])]
    precision: String,
    /// Folder of checkpoints and the loss log, resumed from when it has any.
    #[arg(long, default_value = ".training")]
    checkpoints: PathBuf,
    /// Stop for now after this step, leaving a checkpoint.
    #[arg(long)]
    stop_at: Option<u64>,
}

/// bf16 where the CPU has instructions for it, or on a GPU.
fn precision(name: &str, device: tch::Device) -> Precision {
    match name {
        "bf16" => Precision::Bf16,
        "tf32" => Precision::Tf32,
        "auto" if device.is_cuda() || egsde_models::processor_has_bf16() => Precision::Bf16,
        _ => Precision::F32,
    }
}

/// Runs the command.
pub fn run(args: &Args, root: &Path) -> Result<()> {
    let recipe: Recipe = read_yaml(&args.recipe)?;
    recipe.check().user(args.recipe.display())?;
    let manifest: ArchiveManifest = read_yaml(&root.join("datasets/cifar10.yaml"))?;
    let (archive, data_sha256) = manifest.locate(root)?;
    let data = Cifar10::open(&archive)?;
    let precision = precision(&args.precision, args.device);
    precision.prepare(args.device).map_err(Problem::user)?;
    // Training is random anyway, and a fixed order of sums costs time on a GPU.
    egsde_models::cuda::set_deterministic(false);
    let kind = precision.kind();
    let folder = args.checkpoints.join(&recipe.name);
    eprintln!(
        "{}: {} steps of {} in {kind:?}, checkpoints in {}",
        recipe.name,
        recipe.steps,
        recipe.batch_size,
        folder.display()
    );
    let setting = Setting {
        device: args.device,
        kind,
        folder,
        data_sha256,
        stop_at: args.stop_at,
    };
    let mut bar = Progress::new(&recipe.name, "steps", recipe.steps);
    let outcome = train(&recipe, &data, &setting, |event| match event {
        Event::Resumed { step } => {
            bar.say(&format!("{}: resumed at step {step}", recipe.name));
            bar.skip(step);
        }
        Event::Step {
            step,
            loss,
            learning_rate,
        } => bar.set(step, &format!("loss {loss:.4} lr {learning_rate:.1e}")),
        Event::Checkpoint { .. } => {}
    })?;
    bar.finish();
    let path = root.join(&recipe.output);
    write_safetensors(&path, &outcome.weights, Kind::Half)?;
    println!(
        "{}: step {}, {}",
        recipe.name,
        outcome.step,
        serde_json::to_string(&outcome.figures)?
    );
    println!("{} {}", sha256_file(&path)?, path.display());
    Ok(())
}
