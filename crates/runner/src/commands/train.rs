//! `egsde train`: trains a network on CIFAR-10 or on own pictures and writes its weights.

pub use super::training_args::Args;

use super::train_translation::train_translation;
use super::training_args::{
    check_output, checkpoint_folder, interrupted, interruption, open_cifar10, print_written,
    read_recipe,
};
use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::cropped::load_cropped;
use crate::inputs::image_folder::folder_sha256;
use crate::project::Project;
use crate::runtime::console::{log, stdout};
use crate::runtime::progress::Progress;
use crate::runtime::signal;
use anyhow::Result;
use egsde_data::files::sha256_hex;
use egsde_data::resize::Filter;
use egsde_models::weights::write_safetensors;
use egsde_training::recipe::TrainingTask;
use egsde_training::{Event, Recipe, TrainingData, TrainingOptions, train};
use tch::Kind;

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
        let set = load_cropped(&folder, side as usize, usize::MAX, Filter::Bicubic)?;
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
        interrupted,
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
    let Some(outcome) = outcome.or_invalid_input(args.recipe.display())? else {
        return Err(interruption(&recipe.name, &options.folder));
    };
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
    signal::listen()?;
    match task {
        TrainingTask::Translation => train_translation(args, project),
        TrainingTask::Diffusion | TrainingTask::NoisedClassifier | TrainingTask::Classifier => {
            train_network(args, project)
        }
    }
}
