//! The training loop: batches, checkpoints to resume from, and the weights at the end.

use crate::checkpoint::{CheckpointPlace, SavedState};
use crate::data::TrainingData;
use crate::evaluation::evaluate;
use crate::loss_log::LossLog;
use crate::metadata::{FIGURES_KEY, PRECISION_KEY, training_metadata};
use crate::objective::Objective;
use crate::optimizer::AdamW;
use crate::recipe::Recipe;
use anyhow::{Result, ensure};
use egsde_data::files::make_folder;
use egsde_models::checkpoints::{CheckpointPart, read_weights};
use egsde_models::weights::{WeightFile, assign};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Progress of a training run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A checkpoint was found and training goes on from it.
    Resumed {
        /// Steps already taken.
        step: u64,
    },
    /// Some steps were taken.
    Step {
        /// Steps taken so far.
        step: u64,
        /// Mean loss since the last such event.
        loss: f64,
        /// Learning rate of the last step.
        learning_rate: f64,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Steps taken so far.
        step: u64,
        /// The checkpoint.
        path: &'a Path,
    },
}

/// Where and how a recipe is trained.
#[derive(Debug, Clone)]
pub struct TrainingOptions {
    /// Where to compute.
    pub device: Device,
    /// Working precision; master weights and the optimizer are float32.
    pub kind: Kind,
    /// Folder of checkpoints and the loss log.
    pub folder: PathBuf,
    /// SHA-256 of the data: of the archive, or over the folders.
    pub data_sha256: String,
    /// Weight file to start from, where the recipe names one.
    pub init_from: Option<PathBuf>,
    /// Step at which to stop for now, leaving a checkpoint.
    pub stop_at: Option<u64>,
    /// Asked after each step whether to stop at once, leaving a checkpoint.
    pub interrupted: fn() -> bool,
}

/// Result of training.
#[derive(Debug)]
pub struct Outcome {
    /// Steps taken in all.
    pub step: u64,
    /// Values of the network on held-out images, by name.
    pub evaluation: BTreeMap<String, Value>,
    /// The weights as they ship, not yet written.
    pub weights: WeightFile,
}

/// Losses are averaged over this many steps before they are reported: reading one waits for the
/// device.
const REPORT_EVERY: u64 = 20;

/// Columns of the loss log.
const LOG_HEADER: &str = "step,loss,learning_rate,gradient_norm";

/// Factor by which the seeds of neighbouring recipes are spread, so that their steps' seeds differ.
const SEED_STRIDE: i64 = 1_000_003;

/// The seed of a step's draws.
pub(crate) fn step_seed(seed: i64, step: u64) -> i64 {
    seed.wrapping_mul(SEED_STRIDE).wrapping_add(step as i64)
}

/// Takes the entries of a weight file whose names and shapes fit.
fn initialise_from(objective: &Objective, path: &Path) -> Result<()> {
    let file = read_weights(path, CheckpointPart::Model)?;
    let mut tensors = BTreeMap::new();
    let mut taken = 0;
    for (key, variable) in objective.vs().variables() {
        let given = file
            .tensors
            .get(&key)
            .filter(|given| given.size() == variable.size());
        taken += usize::from(given.is_some());
        let value = match given {
            Some(given) => given.to_kind(variable.kind()).to_device(variable.device()),
            None => variable.detach().copy(),
        };
        tensors.insert(key, value);
    }
    let total = tensors.len();
    ensure!(
        taken * 2 > total,
        "init_from {}: only {taken} of {total} entries fit",
        path.display()
    );
    assign(objective.vs(), &tensors)
}

/// The recipe without the fields that may change when training is resumed: one with more steps than
/// before is not another one.
fn resumable_part(recipe: &Recipe) -> Recipe {
    Recipe {
        steps: 0,
        decay_from: 0,
        checkpoint_every: 1,
        ..recipe.clone()
    }
}

/// The losses since the last report, and the log that reports go to.
struct Progress {
    log: LossLog,
    losses: Vec<Tensor>,
}

impl Progress {
    /// Opens the log in `folder` after `first` steps.
    fn new(folder: &Path, first: u64) -> Result<Self> {
        Ok(Self {
            log: LossLog::open(folder, first)?,
            losses: Vec::new(),
        })
    }

    /// Logs the mean loss of the steps since the last report.
    ///
    /// # Errors
    /// A loss that is not finite, or a log that cannot be written.
    fn report(&mut self, step: u64, learning_rate: f64, norm: f64) -> Result<Event<'static>> {
        let losses = std::mem::take(&mut self.losses);
        let loss = Tensor::stack(&losses, 0)
            .mean(Kind::Float)
            .double_value(&[]);
        ensure!(
            loss.is_finite(),
            "the loss is {loss} at step {step}: lower learning_rate or clip_norm"
        );
        let line = format!("{step},{loss:.6},{learning_rate:.3e},{norm:.4}");
        self.log.append(LOG_HEADER, &line)?;
        Ok(Event::Step {
            step,
            loss,
            learning_rate,
        })
    }
}

/// Trains `recipe` from its last checkpoint, or from its start, to its end. `on_event` is told the
/// progress. None where training was interrupted: the checkpoint holds what was done.
///
/// # Errors
/// A recipe or `init_from` that does not work, a checkpoint of another recipe, files that cannot be
/// written, or a loss that is not finite.
pub fn train(
    recipe: &Recipe,
    data: &TrainingData,
    options: &TrainingOptions,
    mut on_event: impl FnMut(Event),
) -> Result<Option<Outcome>> {
    recipe.check()?;
    let folder = &options.folder;
    make_folder(folder)?;
    tch::manual_seed(recipe.seed);
    let objective = Objective::new(recipe, data, options.device, options.kind)?;
    if let Some(path) = &options.init_from {
        initialise_from(&objective, path)?;
    }
    let mut optimizer = AdamW::new(
        objective.vs(),
        recipe.weight_decay,
        recipe.clip_norm,
        recipe.ema_decay,
    );
    let place = CheckpointPlace {
        folder,
        data_sha256: &options.data_sha256,
    };
    let first = place.resume(recipe, resumable_part, |state| optimizer.restore(state))?;
    if first > 0 {
        on_event(Event::Resumed { step: first });
    }
    let mut progress = Progress::new(folder, first)?;
    let last = options.stop_at.unwrap_or(recipe.steps).min(recipe.steps);
    for step in first..last {
        // Every step has a seed of its own, so that a resumed run draws what an undisturbed one
        // would have drawn.
        tch::manual_seed(step_seed(recipe.seed, step));
        let loss = objective.loss(recipe);
        loss.backward();
        progress.losses.push(loss.detach());
        let learning_rate = recipe.learning_rate_at(step);
        let norm = optimizer.update(step, learning_rate);
        let done = step + 1;
        let interrupted = done < last && (options.interrupted)();
        if done % REPORT_EVERY == 0 || done == last || interrupted {
            on_event(progress.report(done, learning_rate, norm)?);
        }
        if done % recipe.checkpoint_every == 0 || done == last || interrupted {
            let state = SavedState {
                step: done,
                tensors: optimizer.state(),
            };
            let path = place.write(recipe, state)?;
            on_event(Event::Checkpoint {
                step: done,
                path: &path,
            });
        }
        if interrupted {
            return Ok(None);
        }
    }
    finish(recipe, &objective, &optimizer, options, last.max(first)).map(Some)
}

/// A precision's name in weight files.
fn precision_name(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bf16",
        _ => "f32",
    }
}

/// The averaged weights, rounded as they ship, with their evaluation.
fn finish(
    recipe: &Recipe,
    objective: &Objective,
    optimizer: &AdamW,
    options: &TrainingOptions,
    step: u64,
) -> Result<Outcome> {
    let mut tensors = BTreeMap::new();
    for (key, average) in optimizer.averaged() {
        // Weights ship in float16, so the evaluation is that of the rounded ones.
        tensors.insert(
            key.clone(),
            average.to_kind(Kind::Half).to_kind(Kind::Float),
        );
    }
    assign(objective.vs(), &tensors)?;
    let evaluation = evaluate(objective, recipe);
    let mut metadata = training_metadata(&recipe.network, recipe, &options.data_sha256, step)?;
    metadata.insert(FIGURES_KEY.into(), serde_json::to_string(&evaluation)?);
    metadata.insert(PRECISION_KEY.into(), precision_name(options.kind).into());
    Ok(Outcome {
        step,
        evaluation,
        weights: WeightFile { tensors, metadata },
    })
}
