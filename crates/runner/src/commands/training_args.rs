//! What trainings of every kind share: the arguments of `egsde train`, where checkpoints lie, what
//! may be written over.

use crate::config::overrides::{Assignment, read_with_changes};
use crate::config::precision::Precision;
use crate::error::{Interrupted, OrInvalidInput, invalid_input};
use crate::inputs::archive::ArchiveManifest;
use crate::paths::path_parser;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::runtime::device::{card, open_device};
use crate::runtime::signal;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_data::cifar10::Cifar10;
use egsde_data::files::{check_writable, sha256_file};
use egsde_models::weights::read_metadata;
use egsde_training::recipe::RECIPE_KEY;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::Device;

/// Arguments of `egsde train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recipe file, for example configs/training/features.yaml.
    #[arg(value_parser = path_parser())]
    pub(super) recipe: PathBuf,
    /// Change a key: steps=100, folders.cats=~/photos/cats, output=checkpoints/mine.safetensors.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Where to compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = open_device)]
    pub(super) device: Device,
    /// Working precision of the network.
    #[arg(long, value_enum, default_value_t = TrainingPrecision::Auto)]
    pub(super) precision: TrainingPrecision,
    /// Folder of checkpoints and the loss log, resumed from when it has any (the project's
    /// .training).
    #[arg(long, value_parser = path_parser())]
    checkpoints: Option<PathBuf>,
    /// Write over weights that this recipe did not make.
    #[arg(long)]
    force: bool,
    /// Stop after this step and leave a checkpoint.
    #[arg(long)]
    pub(super) stop_at: Option<u64>,
}

/// Working precision of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TrainingPrecision {
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
    pub(super) fn on_device(self, device: Device) -> Precision {
        match self {
            Self::Auto if computes_in_bf16(device) => Precision::Bf16,
            Self::Auto | Self::F32 => Precision::F32,
            Self::Tf32 => Precision::Tf32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

/// Whether a device computes in bf16 itself; of a GPU whose driver does not tell, it is assumed.
fn computes_in_bf16(device: Device) -> bool {
    if device.is_cuda() {
        card(device).is_none_or(|card| card.capability.has_bf16_and_tf32())
    } else {
        egsde_models::processor_has_bf16()
    }
}

/// CIFAR-10 and the hash of its archive.
pub(super) fn open_cifar10(project: &Project) -> Result<(Cifar10, String)> {
    let manifest: ArchiveManifest = read_yaml(&project.cifar10_manifest())?;
    let archive = manifest.locate(project)?;
    Ok((Cifar10::open(&archive.path)?, archive.sha256))
}

/// The name of the recipe by which the weights of a file were trained.
fn trained_by(path: &Path) -> Option<String> {
    let metadata = read_metadata(path)?;
    let recipe: Value = serde_json::from_str(metadata.get(RECIPE_KEY)?).ok()?;
    recipe["name"].as_str().map(String::from)
}

/// Refuses an output that cannot be written, and to write over weights that no training of the
/// recipe `name` left.
pub(super) fn check_output(args: &Args, name: &str, path: &Path) -> Result<()> {
    if args.force || !path.exists() || trained_by(path).is_some_and(|by| by == name) {
        return check_writable(path).or_invalid_input("output");
    }
    Err(invalid_input(format!(
        "{}: output {} is there and was not trained by the recipe {name}: name another file, or \
         --force writes over it",
        args.recipe.display(),
        path.display(),
    )))
}

/// A recipe of either kind, with the changes of the command line.
pub(super) fn read_recipe<R: DeserializeOwned>(args: &Args) -> Result<R> {
    let changes = args.sets.iter().map(|set| Assignment::from_set(set));
    let changes = changes.collect::<Result<Vec<_>>>()?;
    read_with_changes(&args.recipe, &changes)
}

/// Whether a signal came that asks training to stop.
pub(super) fn interrupted() -> bool {
    signal::requested().is_some()
}

/// The end of a training that a signal stopped after its checkpoint was written.
pub(super) fn interruption(name: &str, folder: &Path) -> anyhow::Error {
    let text = format!(
        "{name}: interrupted; the checkpoint is in {}, the same command goes on from there",
        folder.display()
    );
    match signal::requested() {
        Some(code) => Interrupted { text, code }.into(),
        None => anyhow::anyhow!(text),
    }
}

/// The folder of the checkpoints and the loss log of the recipe `name`.
pub(super) fn checkpoint_folder(args: &Args, project: &Project, name: &str) -> PathBuf {
    let checkpoints = args.checkpoints.clone();
    checkpoints
        .unwrap_or_else(|| project.resolve(".training"))
        .join(name)
}

/// Prints the hash of weights that were written.
pub(super) fn print_written(path: &Path) -> Result<()> {
    writeln!(stdout(), "{} {}", sha256_file(path)?, path.display())
}
