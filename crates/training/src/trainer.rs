//! The training loop: batches, checkpoints to resume from, and the weight file at the end.

use crate::figures::figures;
use crate::optimizer::AdamW;
use crate::recipe::Recipe;
use crate::task::Task;
use anyhow::{Context, Result, ensure};
use egsde_metrics::cifar10::Cifar10;
use egsde_models::network::NETWORK_KEY;
use egsde_models::weights::{WeightFile, assign, read_safetensors, write_safetensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// What happened, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    Resumed {
        step: u64,
    },
    Step {
        step: u64,
        loss: f64,
        learning_rate: f64,
    },
    Checkpoint {
        step: u64,
        path: &'a Path,
    },
}

/// Where and how a recipe is trained.
#[derive(Debug, Clone)]
pub struct Setting {
    pub device: Device,
    /// Working precision; master weights and the optimizer are float32.
    pub kind: Kind,
    /// Checkpoints and the loss log.
    pub folder: PathBuf,
    /// SHA-256 of the data archive.
    pub data_sha256: String,
    /// Stop for now at this step (a checkpoint is left).
    pub stop_at: Option<u64>,
}

/// What training ended with.
#[derive(Debug)]
pub struct Outcome {
    pub step: u64,
    pub figures: BTreeMap<String, Value>,
    /// The weights as they ship, not yet written.
    pub weights: WeightFile,
}

/// Losses are averaged over this many steps before they are reported: reading one waits for the device.
const REPORT_EVERY: u64 = 20;

fn start_from(task: &Task, path: &str) -> Result<()> {
    let file = read_safetensors(Path::new(path))?;
    let mut tensors: BTreeMap<String, Tensor> = task
        .vs()
        .variables()
        .into_iter()
        .map(|(k, v)| (k, v.detach().copy()))
        .collect();
    let mut taken = 0;
    for (key, own) in &mut tensors {
        if let Some(given) = file.tensors.get(key).filter(|g| g.size() == own.size()) {
            *own = given.to_kind(own.kind()).to_device(own.device());
            taken += 1;
        }
    }
    ensure!(
        taken * 2 > tensors.len(),
        "init_from {path}: only {taken} of {} entries fit",
        tensors.len()
    );
    assign(task.vs(), &tensors)
}

fn checkpoint_path(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}

fn recipe_json(recipe: &Recipe) -> Result<String> {
    Ok(serde_json::to_string(recipe)?)
}

/// The step to go on from; a checkpoint of another recipe is refused (more steps than before are allowed).
fn resume(optimizer: &mut AdamW, recipe: &Recipe, folder: &Path) -> Result<u64> {
    let path = checkpoint_path(folder);
    if !path.exists() {
        return Ok(0);
    }
    let file = read_safetensors(&path)?;
    let entry = |key: &str| {
        file.metadata
            .get(key)
            .with_context(|| format!("{} carries no {key}", path.display()))
    };
    let then: Recipe =
        serde_json::from_str(entry("recipe")?).with_context(|| path.display().to_string())?;
    let free = |r: &Recipe| Recipe {
        steps: 0,
        decay_from: 0,
        checkpoint_every: 1,
        ..r.clone()
    };
    ensure!(
        free(&then) == free(recipe),
        "{} belongs to another recipe: remove it to start anew",
        path.display()
    );
    let step = entry("step")?
        .parse()
        .with_context(|| format!("{}: step", path.display()))?;
    optimizer
        .restore(&file.tensors)
        .with_context(|| path.display().to_string())?;
    Ok(step)
}

fn save(optimizer: &AdamW, recipe: &Recipe, step: u64, folder: &Path) -> Result<PathBuf> {
    let path = checkpoint_path(folder);
    let metadata = BTreeMap::from([
        ("recipe".into(), recipe_json(recipe)?),
        ("step".into(), step.to_string()),
    ]);
    write_safetensors(
        &path,
        &WeightFile {
            tensors: optimizer.state(),
            metadata,
        },
        Kind::Float,
    )?;
    Ok(path)
}

/// Appends to `loss.csv`; lines behind the resumed step (a run killed after its checkpoint) are cut first.
fn loss_log(folder: &Path, step: u64) -> Result<std::fs::File> {
    let path = folder.join("loss.csv");
    let kept: String = match std::fs::read_to_string(&path) {
        Ok(text) => text
            .lines()
            .skip(1)
            .filter(|l| {
                l.split(',')
                    .next()
                    .and_then(|s| s.parse::<u64>().ok())
                    .is_some_and(|s| s <= step)
            })
            .map(|l| format!("{l}\n"))
            .collect(),
        Err(_) => String::new(),
    };
    let mut file =
        std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    write!(file, "step,loss,learning_rate,gradient_norm\n{kept}")?;
    Ok(file)
}

/// Trains `recipe` from its last checkpoint (or its start) to its end.
pub fn train(
    recipe: &Recipe,
    data: &Cifar10,
    setting: &Setting,
    mut on: impl FnMut(Event),
) -> Result<Outcome> {
    recipe.check()?;
    let Setting {
        device,
        kind,
        folder,
        ..
    } = setting;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    tch::manual_seed(recipe.seed);
    let task = Task::new(recipe, data, *device, *kind)?;
    if let Some(path) = &recipe.init_from {
        start_from(&task, path)?;
    }
    let mut optimizer = AdamW::new(
        task.vs(),
        recipe.weight_decay,
        recipe.clip_norm,
        recipe.ema_decay,
    );
    let first = resume(&mut optimizer, recipe, folder)?;
    if first > 0 {
        on(Event::Resumed { step: first });
    }
    let mut log = loss_log(folder, first)?;
    let last = setting.stop_at.unwrap_or(recipe.steps).min(recipe.steps);
    let mut losses: Vec<Tensor> = Vec::new();
    for step in first..last {
        // A seed for each step: a resumed run draws what an undisturbed one would have drawn.
        tch::manual_seed(
            recipe
                .seed
                .wrapping_mul(1_000_003)
                .wrapping_add(step as i64),
        );
        let loss = task.loss(recipe);
        loss.backward();
        losses.push(loss.detach());
        let learning_rate = recipe.learning_rate_at(step);
        let norm = optimizer.update(step, learning_rate);
        let done = step + 1;
        if done % REPORT_EVERY == 0 || done == last {
            let mean = Tensor::stack(&losses, 0)
                .mean(Kind::Float)
                .double_value(&[]);
            losses.clear();
            ensure!(
                mean.is_finite(),
                "the loss is {mean} at step {done}: lower learning_rate or clip_norm"
            );
            writeln!(log, "{done},{mean:.6},{learning_rate:.3e},{norm:.4}")?;
            on(Event::Step {
                step: done,
                loss: mean,
                learning_rate,
            });
        }
        if done % recipe.checkpoint_every == 0 || done == last {
            let path = save(&optimizer, recipe, done, folder)?;
            on(Event::Checkpoint {
                step: done,
                path: &path,
            });
        }
    }
    finish(recipe, &task, &optimizer, setting, last.max(first))
}

fn finish(
    recipe: &Recipe,
    task: &Task,
    optimizer: &AdamW,
    setting: &Setting,
    step: u64,
) -> Result<Outcome> {
    let averaged = optimizer.averaged();
    // What ships is float16, so the figures are those of the rounded weights.
    let shipped: BTreeMap<String, Tensor> = averaged
        .iter()
        .map(|(k, v)| (k.clone(), v.to_kind(Kind::Half).to_kind(Kind::Float)))
        .collect();
    assign(task.vs(), &shipped)?;
    let figures = figures(task, recipe);
    let metadata = BTreeMap::from([
        (
            NETWORK_KEY.to_string(),
            serde_json::to_string(&recipe.network)?,
        ),
        ("egsde.recipe".to_string(), recipe_json(recipe)?),
        ("egsde.data_sha256".to_string(), setting.data_sha256.clone()),
        ("egsde.steps".to_string(), step.to_string()),
        (
            "egsde.figures".to_string(),
            serde_json::to_string(&figures)?,
        ),
        ("egsde.precision".to_string(), format!("{:?}", setting.kind)),
    ]);
    Ok(Outcome {
        step,
        figures,
        weights: WeightFile {
            tensors: shipped,
            metadata,
        },
    })
}
