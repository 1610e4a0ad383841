//! Evaluation of a trained network on held-out images. The values go into the weight file's
//! metadata.

use crate::objective::{Network, Objective, Split};
use crate::recipe::Recipe;
use egsde_models::{AdmUnet, Dse, Loaded};
use egsde_sampler::schedule::NUM_TRAIN_TIMESTEPS;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Images of a batch at 32 px; larger ones take as many pixels.
const BATCH: i64 = 250;

/// Side of the images for which [`BATCH`] is meant.
const BATCH_SIDE: i64 = 32;

/// Images of a batch of a split's size.
fn batch_size(split: &Split) -> i64 {
    let side = split.side().max(BATCH_SIDE);
    (BATCH * BATCH_SIDE * BATCH_SIDE / (side * side)).max(1)
}

/// Images on which an extractor is evaluated at each of its ten times: all test cats and dogs, but
/// not the whole test split of ten classes.
const EXTRACTOR_IMAGES: i64 = 2000;

/// Number of the extractor's times, and the width of the range of time indices around each.
/// Together they cover [0, 500), which is where translation happens.
const EXTRACTOR_TIMES: i64 = 10;
const EXTRACTOR_TIME_RANGE: i64 = 50;

/// Images of a batch that are classified correctly.
fn count_correct(logits: &Tensor, labels: &Tensor) -> f64 {
    let correct = logits.argmax(-1, false).eq_tensor(labels);
    correct
        .to_kind(Kind::Float)
        .sum(Kind::Float)
        .double_value(&[])
}

/// Accuracy over the first `max_images` of a split of `logits`, which gets images in [0, 1].
fn accuracy(split: &Split, max_images: i64, logits: impl Fn(&Tensor) -> Tensor) -> f64 {
    let count = split.len().min(max_images);
    let (mut correct, size) = (0.0, batch_size(split));
    for start in (0..count).step_by(size as usize) {
        let batch = split.rows(start, size.min(count - start));
        correct += count_correct(&logits(&batch.images), &batch.labels);
    }
    correct / count as f64
}

/// The extractor's accuracy on images noised to the time index `t`.
fn accuracy_at(objective: &Objective, extractor: &Loaded<Dse>, t: i64) -> f64 {
    accuracy(&objective.held_out, EXTRACTOR_IMAGES, |x| {
        let t = Tensor::full([x.size()[0]], t, (Kind::Int64, x.device()));
        extractor.logits(&objective.add_noise(x, &t).xt, &t.to_kind(Kind::Float))
    })
}

/// Accuracies at the middle of each of ten equal ranges of time indices, as (time index, accuracy).
fn accuracy_by_time(objective: &Objective, extractor: &Loaded<Dse>) -> Vec<(i64, f64)> {
    (0..EXTRACTOR_TIMES)
        .map(|k| EXTRACTOR_TIME_RANGE / 2 + EXTRACTOR_TIME_RANGE * k)
        .map(|t| (t, accuracy_at(objective, extractor, t)))
        .collect()
}

/// Mean of the accuracies of equal time ranges.
fn mean_accuracy(by_time: &[(i64, f64)]) -> f64 {
    by_time.iter().map(|(_, accuracy)| accuracy).sum::<f64>() / by_time.len().max(1) as f64
}

/// Mean squared error of the predicted noise on the test split, whose images lie evenly over all
/// time indices.
fn noise_prediction_loss(objective: &Objective, diffusion: &Loaded<AdmUnet>) -> f64 {
    let split = &objective.held_out;
    let (count, at_once) = (split.len(), batch_size(split));
    let mut sum = 0.0;
    for start in (0..count).step_by(at_once as usize) {
        let batch = split.rows(start, at_once);
        let size = batch.len();
        let position = Tensor::arange(size, (Kind::Int64, batch.images.device())) + start;
        let t = (position * NUM_TRAIN_TIMESTEPS as i64).divide_scalar_mode(count as f64, "floor");
        let t = t.to_kind(Kind::Int64);
        let noised = objective.add_noise(&batch.images, &t);
        let predicted = diffusion.output(&noised.xt, &t.to_kind(Kind::Float));
        let error = (predicted - noised.noise).square().mean(Kind::Float);
        sum += error.double_value(&[]) * size as f64;
    }
    sum / count as f64
}

/// All values of a trained network, as name and JSON value, on weights already put in place.
pub(crate) fn evaluate(objective: &Objective, recipe: &Recipe) -> BTreeMap<String, Value> {
    tch::manual_seed(recipe.seed + 1);
    tch::no_grad(|| match &objective.network {
        Network::Diffusion(diffusion) => {
            let loss = noise_prediction_loss(objective, diffusion);
            BTreeMap::from([("test_loss".into(), loss.into())])
        }
        Network::NoisedClassifier(extractor) => {
            let by_time = accuracy_by_time(objective, extractor);
            BTreeMap::from([
                (
                    "test_accuracy_t0_500".into(),
                    mean_accuracy(&by_time).into(),
                ),
                ("test_accuracy_by_t".into(), json!(by_time)),
            ])
        }
        Network::Classifier(classifier) => {
            let accuracy = accuracy(&objective.held_out, i64::MAX, |x| {
                classifier.net.logits(&classifier.features(x))
            });
            BTreeMap::from([("test_accuracy".into(), accuracy.into())])
        }
    })
}
