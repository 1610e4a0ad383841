//! `egsde train`: trains a network on CIFAR-10 or on own pictures and writes its weights.

use super::train_translation::train_translation;
use crate::config::overrides::{Assignment, read_with_changes};
use crate::config::precision::Precision;
use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::archive::ArchiveManifest;
use crate::inputs::cropped::load_cropped;
use crate::inputs::image_folder::folder_sha256;
use crate::paths::path_parser;
use crate::project::Project;
use crate::runtime::console::{log, stdout};
use crate::runtime::device::open_device;
use crate::runtime::progress::Progress;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_data::cifar10::Cifar10;
use egsde_data::files::{sha256_file, sha256_hex};
use egsde_models::weights::{read_safetensors, write_safetensors};
use egsde_training::recipe::{RECIPE_KEY, TrainingTask};
use egsde_training::{Event, Recipe, TrainingData, TrainingOptions, train};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

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

/// Images to train on, and the SHA-256 that tells them.
struct Data {
    images: TrainingData,
    sha256: String,
}

/// CIFAR-10 and the hash of its archive.
pub(super) fn open_cifar10(project: &Project) -> Result<(Cifar10, String)> {
    let manifest: ArchiveManifest = read_yaml(&project.cifar10_manifest())?;
    let archive = manifest.locate(project)?;
    Ok((Cifar10::open(&archive.path)?, archive.sha256))
}

/// Reads CIFAR-10's classes.
fn read_cifar10(recipe: &Recipe, project: &Project) -> Result<Data> {
    let (data, sha256) = open_cifar10(project)?;
    Ok(Data {
        images: TrainingData::from_cifar10(&data, &recipe.classes)?,
        sha256,
    })
}

/// Reads the recipe's folders, in the order of its classes, as squares of the network's size.
fn read_folders(recipe: &Recipe, project: &Project) -> Result<Data> {
    let config = serde_json::to_value(&recipe.network)?;
    let side = config["image_size"].as_u64().ok_or_else(|| {
        invalid_input(format!(
            "a network of kind {} is trained on CIFAR-10 alone",
            recipe.network.kind()
        ))
    })?;
    let (mut sets, mut hashes) = (Vec::new(), String::new());
    for class in &recipe.classes {
        let folder = &recipe.folders[class];
        project.check_path(folder, "folders")?;
        let folder = project.resolve(folder);
        hashes += &format!("{class} {}\n", folder_sha256(&folder)?);
        let set = load_cropped(&folder, side as usize, usize::MAX)?;
        writeln!(
            log(),
            "{class}: {} pictures of {}",
            set.len(),
            folder.display()
        );
        sets.push(set);
    }
    Ok(Data {
        images: TrainingData::from_sets(sets, recipe.held_out)?,
        sha256: sha256_hex(hashes.as_bytes()),
    })
}

/// Reads what the recipe names.
fn read_data(recipe: &Recipe, project: &Project) -> Result<Data> {
    if recipe.folders.is_empty() {
        read_cifar10(recipe, project)
    } else {
        read_folders(recipe, project)
    }
}

/// The name of the recipe by which the weights of a file were trained.
fn trained_by(path: &Path) -> Option<String> {
    let mut file = read_safetensors(path).ok()?;
    let recipe: Value = serde_json::from_str(&file.metadata.remove(RECIPE_KEY)?).ok()?;
    recipe["name"].as_str().map(String::from)
}

/// Refuses to write over weights that no training of the recipe `name` left.
pub(super) fn check_output(args: &Args, name: &str, path: &Path) -> Result<()> {
    if args.force || !path.exists() || trained_by(path).is_some_and(|by| by == name) {
        return Ok(());
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

/// Trains one network by itself.
fn train_network(args: &Args, project: &Project) -> Result<()> {
    let recipe: Recipe = read_recipe(args)?;
    recipe.check().or_invalid_input(args.recipe.display())?;
    let output = project.resolve(&recipe.output);
    check_output(args, &recipe.name, &output)?;
    let precision = args.precision.on_device(args.device);
    precision.prepare(args.device).map_err(invalid_input)?;
    let data = read_data(&recipe, project).or_invalid_input(args.recipe.display())?;
    // Training is random in any case, and a fixed order of sums costs time on a GPU.
    egsde_models::cuda::set_deterministic(false);
    let options = TrainingOptions {
        device: args.device,
        kind: precision.kind(),
        folder: checkpoint_folder(args, project, &recipe.name),
        data_sha256: data.sha256,
        init_from: recipe.init_from.as_ref().map(|path| project.resolve(path)),
        stop_at: args.stop_at,
    };
    writeln!(
        log(),
        "{}: {} steps of {} in {precision}, checkpoints in {}",
        recipe.name,
        recipe.steps,
        recipe.batch_size,
        options.folder.display()
    );
    let mut bar = Progress::new(&recipe.name, "steps", recipe.steps);
    let outcome = train(&recipe, &data.images, &options, |event| {
        show_event(event, &recipe, &mut bar)
    });
    bar.finish();
    let outcome = outcome.or_invalid_input(args.recipe.display())?;
    write_safetensors(&output, &outcome.weights, Kind::Half)?;
    let evaluation = serde_json::to_string(&outcome.evaluation)?;
    writeln!(
        stdout(),
        "{}: step {}, {evaluation}",
        recipe.name,
        outcome.step
    )?;
    print_written(&output)
}

/// The key that tells the kinds of recipes apart.
#[derive(Debug, serde::Deserialize)]
struct TaskKey {
    task: TrainingTask,
}

/// Runs the command.
///
/// # Errors
/// Invalid input: a mistake in the recipe, images that are missing, a file that would be written
/// over, or a precision in which the device does not compute. Those of [`train`] and
/// [`egsde_training::gan::train_gan`].
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let TaskKey { task } = read_recipe(args)?;
    match task {
        TrainingTask::Translation => train_translation(args, project),
        TrainingTask::Diffusion | TrainingTask::NoisedClassifier | TrainingTask::Classifier => {
            train_network(args, project)
        }
    }
}
