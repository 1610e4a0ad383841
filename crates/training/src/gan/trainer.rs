//! The training loop of the GANs: batches, checkpoints to resume from, a log, grids of samples, and
//! the generator of the last epoch.

use super::NamedTensor;
use super::cut::{Cut, CutNetworks};
use super::cyclegan::{CycleGan, CycleGanNetworks};
use super::images::DomainImages;
use super::recipe::{GanLosses, GanRecipe};
use super::samples::{COLUMNS, write_grid};
use crate::checkpoint::{CheckpointPlace, SavedState};
use crate::loss_log::LossLog;
use crate::metadata::training_metadata;
use crate::trainer::step_seed;
use anyhow::{Result, ensure};
use egsde_data::files::make_folder;
use egsde_models::weights::WeightFile;
use egsde_models::{Loaded, ResnetGenerator};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

/// Progress of a training run.
#[derive(Debug)]
pub enum GanEvent<'a> {
    /// The recipe and the images say how many steps there are.
    Planned {
        /// Steps in all.
        steps: u64,
    },
    /// A checkpoint was found and training goes on from it.
    Resumed {
        /// Steps already taken.
        step: u64,
    },
    /// Some steps were taken.
    Step {
        /// Steps taken so far.
        step: u64,
        /// Names and means of the losses since the last such event.
        losses: &'a [(&'static str, f64)],
        /// Learning rate of the last step.
        learning_rate: f64,
    },
}

/// Where and how a recipe is trained.
#[derive(Debug, Clone)]
pub struct GanOptions {
    /// Where to compute.
    pub device: Device,
    /// Working precision; weights and optimizers are float32.
    pub kind: Kind,
    /// Folder of checkpoints, the loss log and samples.
    pub folder: PathBuf,
    /// SHA-256 of the data archive.
    pub data_sha256: String,
    /// Step at which to stop for now, leaving a checkpoint.
    pub stop_at: Option<u64>,
    /// Asked after each step whether to stop at once, leaving a checkpoint.
    pub interrupted: fn() -> bool,
}

/// Result of training.
#[derive(Debug)]
pub struct GanOutcome {
    /// Steps taken in all.
    pub step: u64,
    /// Steps of the whole recipe.
    pub steps: u64,
    /// The generator as it ships, not yet written; none before the last epoch's end.
    pub generator: Option<WeightFile>,
}

/// Losses are averaged over this many steps before they are reported.
const REPORT_EVERY: u64 = 50;

/// Added to the recipe's seed for the orders of epochs, whose draws are thereby none of a step's.
const ORDER_SEED: i64 = 1 << 40;

/// A method in training.
enum Model {
    Cut(Box<Cut>),
    CycleGan(Box<CycleGan>),
}

impl Model {
    fn fresh(recipe: &GanRecipe, options: &GanOptions) -> Result<Self> {
        let GanOptions { device, kind, .. } = *options;
        let (generator, discriminator) = (&recipe.generator, &recipe.discriminator);
        Ok(match &recipe.losses {
            GanLosses::Cut(settings) => {
                let networks =
                    CutNetworks::fresh(generator, discriminator, settings, device, kind)?;
                Self::Cut(Box::new(Cut::new(networks, settings.clone(), recipe.adam)))
            }
            GanLosses::CycleGan(settings) => {
                let networks = CycleGanNetworks::fresh(generator, discriminator, device, kind)?;
                Self::CycleGan(Box::new(CycleGan::new(networks, *settings, recipe.adam)))
            }
        })
    }

    /// The generator that translates from source to target.
    fn generator(&self) -> &Loaded<ResnetGenerator> {
        match self {
            Self::Cut(cut) => &cut.networks.generator,
            Self::CycleGan(cyclegan) => &cyclegan.networks.generators.a,
        }
    }

    /// Rows of a grid of samples: sources, translations and, where there is a way back, what comes
    /// back.
    fn sample_rows(&self, sources: &Tensor) -> Vec<Tensor> {
        tch::no_grad(|| {
            let translated = self.generator().translate(sources);
            let mut rows = vec![sources.shallow_clone(), translated.shallow_clone()];
            if let Self::CycleGan(cyclegan) = self {
                rows.push(cyclegan.networks.generators.b.translate(&translated));
            }
            rows.iter().map(|row| row.to_device(Device::Cpu)).collect()
        })
    }

    fn save(&self, state: &mut BTreeMap<String, Tensor>) {
        match self {
            Self::Cut(cut) => cut.save(state),
            Self::CycleGan(cyclegan) => cyclegan.save(state),
        }
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        match self {
            Self::Cut(cut) => cut.restore(state),
            Self::CycleGan(cyclegan) => cyclegan.restore(state),
        }
    }
}

/// A recipe on its way, with the order of the epoch's images.
struct Run<'a> {
    recipe: &'a GanRecipe,
    images: &'a DomainImages,
    options: &'a GanOptions,
    model: Model,
    steps_per_epoch: u64,
    /// Positions of each compared layer; CUT's only.
    position_counts: Vec<i64>,
    /// The epoch whose order was drawn last, and the order.
    order: Option<(u64, Tensor)>,
}

impl<'a> Run<'a> {
    fn new(
        recipe: &'a GanRecipe,
        images: &'a DomainImages,
        options: &'a GanOptions,
    ) -> Result<Self> {
        tch::manual_seed(recipe.seed);
        let model = Model::fresh(recipe, options)?;
        let position_counts = match &model {
            Model::Cut(cut) => cut.position_counts(recipe.augment.crop_size),
            Model::CycleGan(_) => Vec::new(),
        };
        Ok(Self {
            steps_per_epoch: images.steps_per_epoch(recipe.batch_size),
            recipe,
            images,
            options,
            model,
            position_counts,
            order: None,
        })
    }

    fn steps(&self) -> u64 {
        self.steps_per_epoch * self.recipe.epochs()
    }

    /// The order of an epoch's source images.
    fn order(&mut self, epoch: u64) -> Tensor {
        if let Some((drawn, order)) = &self.order
            && *drawn == epoch
        {
            return order.shallow_clone();
        }
        tch::manual_seed(step_seed(self.recipe.seed.wrapping_add(ORDER_SEED), epoch));
        let order = self.images.draw_order(self.recipe.batch_size);
        self.order = Some((epoch, order.shallow_clone()));
        order
    }

    /// One step, which counts from 0; its losses.
    fn step(&mut self, step: u64, learning_rate: f64) -> Vec<NamedTensor> {
        let (epoch, position) = (step / self.steps_per_epoch, step % self.steps_per_epoch);
        let order = self.order(epoch);
        // Every step has a seed of its own, so that a resumed run draws what an undisturbed one
        // would have drawn.
        tch::manual_seed(step_seed(self.recipe.seed, step));
        let batch_size = self.recipe.batch_size;
        let batch = self.images.draw_batch(&order, position, batch_size);
        let [a, b] = batch.map(|images| images.to_device(self.options.device));
        match &mut self.model {
            Model::Cut(cut) => {
                let batch = cut.draw_batch(a, b, &self.position_counts);
                cut.step(&batch, step, learning_rate).losses
            }
            Model::CycleGan(cyclegan) => {
                let draws = cyclegan.draw(batch_size);
                cyclegan.step(&a, &b, &draws, step, learning_rate).losses
            }
        }
    }

    fn learning_rate(&self, step: u64) -> f64 {
        self.recipe.schedule().at_epoch(step / self.steps_per_epoch)
    }

    fn place(&self) -> CheckpointPlace<'a> {
        CheckpointPlace {
            folder: &self.options.folder,
            data_sha256: &self.options.data_sha256,
        }
    }

    fn save(&self, step: u64) -> Result<()> {
        let mut tensors = BTreeMap::new();
        self.model.save(&mut tensors);
        let state = SavedState { step, tensors };
        self.place().write(self.recipe, state)?;
        Ok(())
    }

    /// Loads the checkpoint, if there is one, and returns the step to go on from.
    fn resume(&mut self) -> Result<u64> {
        let (place, recipe) = (self.place(), self.recipe);
        place.resume(recipe, resumable_part, |state| self.model.restore(state))
    }

    fn write_samples(&self, step: u64) -> Result<()> {
        let sources = self.images.examples(COLUMNS).to_device(self.options.device);
        write_grid(
            &self.options.folder,
            step,
            &self.model.sample_rows(&sources),
        )?;
        Ok(())
    }

    /// The generator's weights, rounded as they ship.
    fn generator_file(&self, step: u64) -> Result<WeightFile> {
        let mut tensors = BTreeMap::new();
        for (key, weight) in self.model.generator().vs.variables() {
            tensors.insert(key, weight.detach().to_device(Device::Cpu));
        }
        let (recipe, data_sha256) = (self.recipe, &self.options.data_sha256);
        let metadata = training_metadata(&recipe.generator, recipe, data_sha256, step)?;
        Ok(WeightFile { tensors, metadata })
    }
}

/// The recipe without the fields that may change when training is resumed.
fn resumable_part(recipe: &GanRecipe) -> GanRecipe {
    GanRecipe {
        checkpoint_every: 1,
        samples_every: 1,
        ..recipe.clone()
    }
}

/// Losses since the last report.
#[derive(Default)]
struct Averages {
    sums: Vec<(&'static str, f64)>,
    steps: u64,
}

impl Averages {
    fn add(&mut self, losses: Vec<NamedTensor>) {
        self.sums.resize_with(losses.len(), || ("", 0.0));
        for ((name, sum), (loss_name, loss)) in self.sums.iter_mut().zip(losses) {
            *name = loss_name;
            *sum += loss.double_value(&[]);
        }
        self.steps += 1;
    }

    /// The means; begins again.
    fn take(&mut self) -> Vec<(&'static str, f64)> {
        let Self { sums, steps } = std::mem::take(self);
        let means = sums.into_iter();
        means
            .map(|(name, sum)| (name, sum / steps as f64))
            .collect()
    }
}

fn check_finite(losses: &[(&'static str, f64)], step: u64) -> Result<()> {
    for (name, loss) in losses {
        ensure!(
            loss.is_finite(),
            "the loss {name} is {loss} at step {step}: lower learning_rate"
        );
    }
    Ok(())
}

/// The columns of the log: step, learning rate, then the losses in their order.
fn log_header(losses: &[(&'static str, f64)]) -> String {
    let names = losses.iter().map(|(name, _)| format!(",{name}"));
    format!("step,learning_rate{}", names.collect::<String>())
}

fn log_line(step: u64, learning_rate: f64, losses: &[(&'static str, f64)]) -> String {
    let values = losses.iter().map(|(_, loss)| format!(",{loss:.6}"));
    format!("{step},{learning_rate:.3e}{}", values.collect::<String>())
}

/// Trains `recipe` from its last checkpoint, or from its start, to its end. `on_event` is told the
/// progress.
///
/// # Errors
/// A recipe that does not work, a checkpoint of another recipe, files that cannot be written, or a
/// loss that is not finite.
pub fn train_gan(
    recipe: &GanRecipe,
    images: &DomainImages,
    options: &GanOptions,
    mut on_event: impl FnMut(GanEvent),
) -> Result<GanOutcome> {
    recipe.check()?;
    let folder = &options.folder;
    make_folder(folder)?;
    let mut run = Run::new(recipe, images, options)?;
    let steps = run.steps();
    on_event(GanEvent::Planned { steps });
    let first = run.resume()?;
    if first > 0 {
        on_event(GanEvent::Resumed { step: first });
    }
    let mut log = LossLog::open(folder, first)?;
    let last = options.stop_at.unwrap_or(steps).min(steps);
    let mut averages = Averages::default();
    let mut done = first;
    while done < last {
        let step = done;
        let learning_rate = run.learning_rate(step);
        averages.add(run.step(step, learning_rate));
        done += 1;
        let stops = done == last || (options.interrupted)();
        let writes = done % recipe.checkpoint_every == 0 || stops;
        if done % REPORT_EVERY == 0 || stops {
            let losses = averages.take();
            check_finite(&losses, done)?;
            log.append(
                &log_header(&losses),
                &log_line(done, learning_rate, &losses),
            )?;
            on_event(GanEvent::Step {
                step: done,
                losses: &losses,
                learning_rate,
            });
        }
        if done % recipe.samples_every == 0 || done == steps {
            run.write_samples(done)?;
        }
        if writes {
            run.save(done)?;
        }
        if stops {
            break;
        }
    }
    let generator = (done >= steps).then(|| run.generator_file(done));
    Ok(GanOutcome {
        step: done,
        steps,
        generator: generator.transpose()?,
    })
}
