//! Final figures of a trained network on held-out pictures; they go into the weight file's metadata.

use crate::recipe::Recipe;
use crate::task::{Network, Task};
use serde::Serialize;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

const BATCH: i64 = 250;
/// An extractor is tried ten times over: all test cats and dogs, but not the whole test split of ten classes.
const EXTRACTOR_PICTURES: i64 = 2000;

/// Held-out accuracy of an extractor by time index, and its mean.
#[derive(Debug, Clone, Serialize)]
pub struct DseFigures {
    pub mean_accuracy: f64,
    /// (time index, accuracy).
    pub by_time: Vec<(i64, f64)>,
}

fn correct(logits: &Tensor, y: &Tensor) -> f64 {
    logits
        .argmax(-1, false)
        .eq_tensor(y)
        .to_kind(Kind::Float)
        .sum(Kind::Float)
        .double_value(&[])
}

/// Accuracy over `most` pictures of the test split (all, if there are no more) of `logits(pictures in [0, 1])`.
fn accuracy(task: &Task, most: i64, logits: impl Fn(&Tensor) -> Tensor) -> f64 {
    let n = task.test.len().min(most);
    let batch = |start| {
        let rows = task.test.rows(start, BATCH.min(n - start));
        correct(&logits(&rows.x), &rows.y)
    };
    (0..n).step_by(BATCH as usize).map(batch).sum::<f64>() / n as f64
}

/// Accuracy at the middle of each of ten equal ranges of [0, 500), which is where translation happens.
pub(crate) fn dse_figures(task: &Task) -> Option<DseFigures> {
    let Network::Noised(l) = &task.network else {
        return None;
    };
    let at = |t: i64| {
        let score = accuracy(task, EXTRACTOR_PICTURES, |x| {
            let t = Tensor::full([x.size()[0]], t, (Kind::Int64, x.device()));
            l.logits(&task.noised(x, &t).0, &t.to_kind(Kind::Float))
        });
        (t, score)
    };
    let by_time: Vec<(i64, f64)> = (0..10).map(|k| at(25 + 50 * k)).collect();
    Some(DseFigures {
        mean_accuracy: accuracy_over_time(&by_time),
        by_time,
    })
}

/// Mean of the accuracies of equal time ranges.
pub fn accuracy_over_time(by_time: &[(i64, f64)]) -> f64 {
    by_time.iter().map(|(_, a)| a).sum::<f64>() / by_time.len().max(1) as f64
}

/// Mean noise-prediction error on held-out pictures over a fixed grid of time indices.
fn diffusion_loss(task: &Task) -> Option<f64> {
    let Network::Diffusion(l) = &task.network else {
        return None;
    };
    let n = task.test.len();
    let mut total = 0.0;
    for start in (0..n).step_by(BATCH as usize) {
        let rows = task.test.rows(start, BATCH);
        let count = rows.len();
        let t = (Tensor::arange(count, (Kind::Int64, rows.x.device())) + start) * 1000;
        let t = t.divide_scalar_mode(n as f64, "floor").to_kind(Kind::Int64);
        let (xt, noise) = task.noised(&rows.x, &t);
        let error = (l.output(&xt, &t.to_kind(Kind::Float)) - noise)
            .square()
            .mean(Kind::Float);
        total += error.double_value(&[]) * count as f64;
    }
    Some(total / n as f64)
}

/// All figures of a task as name and JSON value, on weights already put in place.
pub(crate) fn figures(task: &Task, recipe: &Recipe) -> BTreeMap<String, serde_json::Value> {
    tch::manual_seed(recipe.seed + 1);
    let mut found = BTreeMap::new();
    tch::no_grad(|| {
        if let Some(f) = dse_figures(task) {
            found.insert("test_accuracy_t0_500".into(), f.mean_accuracy.into());
            found.insert("test_accuracy_by_t".into(), serde_json::json!(f.by_time));
        }
        if let Some(loss) = diffusion_loss(task) {
            found.insert("test_loss".into(), loss.into());
        }
        if let Network::Clean(l) = &task.network {
            let score = accuracy(task, i64::MAX, |x| l.net.logits(&l.features(x)));
            found.insert("test_accuracy".into(), score.into());
        }
    });
    found
}
