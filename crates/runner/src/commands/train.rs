//! `egsde train`: trains a network of the embedded scale and writes its weights.

use crate::config::precision::Precision;
use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::archive::ArchiveManifest;
use crate::project::Project;
use crate::runtime::device::open_device;
use crate::runtime::progress::Progress;
use crate::yaml::{offer, read_yaml};
use anyhow::Result;
use egsde_data::cifar10::{CLASSES, Cifar10};
use egsde_data::files::sha256_file;
use egsde_data::image_set::ImageSet;
use egsde_models::weights::write_safetensors;
use egsde_training::gan::{DomainImages, GanEvent, GanOptions, GanOutcome, GanRecipe, train_gan};
use egsde_training::recipe::TrainingTask;
use egsde_training::{Event, Recipe, TrainingOptions, train};
use std::path::{Path, PathBuf};
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

/// The key that every recipe has.
#[derive(Debug, serde::Deserialize)]
struct TaskKey {
    task: TrainingTask,
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

/// Shows what training of a GAN reports.
fn show_gan_event(event: GanEvent, recipe: &GanRecipe, bar: &mut Option<Progress>) {
    match event {
        GanEvent::Planned { steps } => {
            *bar = Some(Progress::new(&recipe.name, "steps", steps));
        }
        GanEvent::Resumed { step } => {
            if let Some(bar) = bar {
                bar.print_line(&format!("{}: resumed at step {step}", recipe.name));
                bar.skip(step);
            }
        }
        GanEvent::Step {
            step,
            losses,
            learning_rate,
        } => {
            let values = losses
                .iter()
                .map(|(name, loss)| format!("{name} {loss:.3} "));
            let text = format!("{}lr {learning_rate:.1e}", values.collect::<String>());
            if let Some(bar) = bar {
                bar.set(step, &text);
            }
        }
    }
}

/// CIFAR-10 and the hash of its archive.
fn open_data(project: &Project) -> Result<(Cifar10, String)> {
    let manifest: ArchiveManifest = read_yaml(&project.cifar10_manifest())?;
    let archive = manifest.locate(project)?;
    Ok((Cifar10::open(&archive.path)?, archive.sha256))
}

/// The training images of a class of CIFAR-10.
fn images_of_class(data: &Cifar10, class: &str) -> Result<ImageSet> {
    let label = CLASSES.iter().position(|name| *name == class);
    let Some(label) = label else {
        let offer = offer(class, CLASSES.into_iter());
        let known = CLASSES.join(", ");
        return Err(invalid_input(format!(
            "no CIFAR-10 class `{class}`, there are {known}{offer}"
        )));
    };
    Ok(data.train.images_of_class(label as u8))
}

fn print_written(path: &Path) -> Result<()> {
    println!("{} {}", sha256_file(path)?, path.display());
    Ok(())
}

/// Trains a GAN that translates between two classes.
fn train_translation(args: &Args, project: &Project) -> Result<()> {
    let recipe: GanRecipe = read_yaml(&args.recipe)?;
    recipe.check().or_invalid_input(args.recipe.display())?;
    let (data, data_sha256) = open_data(project)?;
    let [source, target] = &recipe.classes;
    let (source, target) = (
        images_of_class(&data, source)?,
        images_of_class(&data, target)?,
    );
    let images = DomainImages::new(&source, &target, recipe.augment)?;
    // The losses of a GAN are too close to each other for bfloat16, so it is never a default.
    let precision = match args.precision {
        TrainingPrecision::Auto => Precision::F32,
        given => given.on_device(args.device),
    };
    precision.prepare(args.device).map_err(invalid_input)?;
    egsde_models::cuda::set_deterministic(false);
    let options = GanOptions {
        device: args.device,
        kind: precision.kind(),
        folder: args.checkpoints.join(&recipe.name),
        data_sha256,
        stop_at: args.stop_at,
    };
    eprintln!(
        "{}: {} epochs in {precision}, checkpoints, loss.csv and samples in {}",
        recipe.name,
        recipe.epochs(),
        options.folder.display()
    );
    let mut bar = None;
    let outcome = train_gan(&recipe, &images, &options, |event| {
        show_gan_event(event, &recipe, &mut bar)
    })?;
    if let Some(bar) = &bar {
        bar.finish();
    }
    let GanOutcome { step, steps, .. } = outcome;
    let Some(generator) = outcome.generator else {
        println!(
            "{}: step {step} of {steps}; the same command goes on from there",
            recipe.name
        );
        return Ok(());
    };
    let path = project.resolve(&recipe.output);
    write_safetensors(&path, &generator, Kind::Half)?;
    println!("{}: step {step}, the end of the last epoch", recipe.name);
    print_written(&path)
}

/// Trains one network by itself.
fn train_network(args: &Args, project: &Project) -> Result<()> {
    let recipe: Recipe = read_yaml(&args.recipe)?;
    recipe.check().or_invalid_input(args.recipe.display())?;
    let (data, data_sha256) = open_data(project)?;
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
        data_sha256,
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
    print_written(&path)
}

/// Runs the command.
///
/// # Errors
/// Invalid input: a mistake in the recipe, a data set that is missing, or a precision in which the
/// device does not compute. Those of [`train`] and [`train_gan`].
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let TaskKey { task } = read_yaml(&args.recipe)?;
    match task {
        TrainingTask::Translation => train_translation(args, project),
        TrainingTask::Diffusion | TrainingTask::NoisedClassifier | TrainingTask::Classifier => {
            train_network(args, project)
        }
    }
}
