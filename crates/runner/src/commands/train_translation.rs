//! `egsde train` of a GAN that translates between two classes of CIFAR-10.

use super::training_args::{
    Args, TrainingPrecision, check_output, checkpoint_folder, interrupted, interruption,
    open_cifar10, print_written, read_recipe,
};
use crate::config::precision::Precision;
use crate::error::{OrInvalidInput, invalid_input};
use crate::project::Project;
use crate::runtime::console::{log, stdout};
use crate::runtime::progress::Progress;
use anyhow::Result;
use egsde_data::cifar10::Cifar10;
use egsde_data::image_set::ImageSet;
use egsde_models::weights::write_safetensors;
use egsde_training::gan::{DomainImages, GanEvent, GanOptions, GanOutcome, GanRecipe, train_gan};
use tch::Kind;

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

/// The training images of a class of CIFAR-10.
fn images_of_class(data: &Cifar10, class: &str) -> Result<ImageSet> {
    let images = data.train.images_of_class(class);
    images.map_err(|error| invalid_input(error.to_string()))
}

/// Trains a GAN that translates between two classes.
///
/// # Errors
/// Invalid input: a mistake in the recipe, images that are missing, a file that would be written
/// over, or a precision in which the device does not compute. Those of [`train_gan`].
pub(super) fn train_translation(args: &Args, project: &Project) -> Result<()> {
    let recipe: GanRecipe = read_recipe(args)?;
    recipe.check().or_invalid_input(args.recipe.display())?;
    let output = project.resolve(&recipe.output);
    check_output(args, &recipe.name, &output)?;
    let (data, data_sha256) = open_cifar10(project)?;
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
        folder: checkpoint_folder(args, project, &recipe.name),
        data_sha256,
        stop_at: args.stop_at,
        interrupted,
    };
    writeln!(
        log(),
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
        if interrupted() {
            return Err(interruption(&recipe.name, &options.folder));
        }
        return writeln!(
            stdout(),
            "{}: step {step} of {steps}; the same command goes on from there",
            recipe.name
        );
    };
    write_safetensors(&output, &generator, Kind::Half)?;
    writeln!(
        stdout(),
        "{}: step {step}, the end of the last epoch",
        recipe.name
    )?;
    print_written(&output)
}
