//! Golden cases of what GANs are trained with: losses, Adam, learning rates, the image pool.

use super::case::{Case, number, parse, text, whole};
use super::gan_networks::scalar;
use anyhow::Result;
use egsde_models::gradient::gradient_of;
use egsde_models::networks::patch_mlp::patch_rows;
use egsde_models::{Loaded, PatchMlp, ResnetGenerator};
use egsde_training::gan::{
    Adam, AdamSettings, Exchange, GanMode, ImagePool, LinearDecay, PatchNce, StepTime, Target,
};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Every adversarial loss of a prediction, with gradients.
pub fn gan_loss(case: &mut Case) -> Result<()> {
    let prediction = case.input("prediction")?;
    let mut results = BTreeMap::new();
    for (mode, name) in [
        (GanMode::Lsgan, "lsgan"),
        (GanMode::Vanilla, "vanilla"),
        (GanMode::Nonsaturating, "nonsaturating"),
        (GanMode::Wgangp, "wgangp"),
    ] {
        for (target, label) in [(Target::Real, "real"), (Target::Fake, "fake")] {
            let loss = mode.loss(&prediction, target);
            let gradient = gradient_of(&prediction, |p| mode.loss(p, target));
            results.insert(format!("{name}.{label}"), scalar(&loss));
            results.insert(format!("{name}.{label}.grad"), gradient);
        }
    }
    case.expect_all(&results)
}

/// The contrastive loss that a case describes.
fn nce(case: &Case) -> Result<PatchNce> {
    Ok(PatchNce {
        temperature: number(case.value, "temperature")?,
        all_negatives: case.value["all_negatives"].as_bool().unwrap_or_default(),
    })
}

/// The contrastive loss of rows, and its mean's gradient on the queries.
pub fn patch_nce(case: &mut Case) -> Result<()> {
    let (q, k) = (case.input("q")?, case.input("k")?);
    let nce = nce(case)?;
    let batch = whole(case.value, "batch")? as i64;
    let groups = if nce.all_negatives { 1 } else { batch };
    let losses = nce.losses(&q, &k, groups);
    let gradient = gradient_of(&q, |q| nce.losses(q, &k, groups).mean(Kind::Float));
    case.expect_all(&BTreeMap::from([
        ("mean".into(), scalar(&losses.mean(Kind::Float))),
        ("loss".into(), losses),
        ("q_grad".into(), gradient),
    ]))
}

/// The contrastive loss of an image against another, and its gradient on the former.
pub fn nce_image_gradient(case: &mut Case) -> Result<()> {
    let generator: Loaded<ResnetGenerator> = case.trainable("generator")?;
    let projection: Loaded<PatchMlp> = case.trainable("projection")?;
    let layers: Vec<usize> = parse(case.value, "nce_layers")?;
    let (target, source) = (case.input("target")?, case.input("source")?);
    let nce = nce(case)?;
    let groups = whole(case.value, "batch")? as i64;
    let mut positions = Vec::new();
    for layer in 0..layers.len() {
        let stored = case.stored(&format!("ids.{layer}"))?;
        positions.push(stored.to_device(case.options.device));
    }
    let keys = generator.net.features(&source, &layers, generator.kind);
    let mut value = None;
    let gradient = gradient_of(&target, |target| {
        let queries = generator.net.features(target, &layers, generator.kind);
        let mut losses = Vec::new();
        for (layer, (query, key)) in queries.iter().zip(&keys).enumerate() {
            let [query, key] = [query, key].map(|feature| {
                let rows = patch_rows(feature, &positions[layer]);
                projection.net.project(layer, &rows)
            });
            losses.push(nce.losses(&query, &key, groups).mean(Kind::Float));
        }
        let loss = Tensor::stack(&losses, 0).mean(Kind::Float);
        value = Some(loss.detach());
        loss
    });
    if let Some(value) = value {
        case.expect("loss", &scalar(&value))?;
    }
    case.expect("target_grad", &gradient)
}

/// Adam's numbers of a case.
pub fn adam_settings(value: &serde_json::Value) -> Result<AdamSettings> {
    Ok(AdamSettings {
        beta1: number(value, "beta1")?,
        beta2: number(value, "beta2")?,
        eps: number(value, "eps")?,
        weight_decay: value["weight_decay"].as_f64().unwrap_or_default(),
    })
}

/// Steps of Adam under given gradients.
pub fn adam(case: &mut Case) -> Result<()> {
    let start = case.input("p")?;
    let weight = start.copy();
    let variables = vec![("p".to_string(), weight.shallow_clone())];
    let mut adam = Adam::from_variables(variables, adam_settings(case.value)?);
    let learning_rate = number(case.value, "lr")?;
    let mut results = BTreeMap::new();
    for step in 0..whole(case.value, "steps")? {
        let gradient = case.input(&format!("g.{step}"))?;
        adam.update(&[gradient], step as u64, learning_rate);
        results.insert(format!("update.{step}"), &weight - &start);
    }
    case.expect_all(&results)
}

/// The learning rate of each epoch.
pub fn learning_rates(case: &mut Case) -> Result<()> {
    anyhow::ensure!(
        text(case.value, "policy")? == "linear",
        "only the policy linear is known"
    );
    let (constant, decay) = (
        whole(case.value, "n_epochs")?,
        whole(case.value, "n_epochs_decay")?,
    );
    let mut results = BTreeMap::new();
    for (name, step_time) in [
        ("cut", StepTime::AfterEpoch),
        ("cyclegan", StepTime::BeforeEpoch),
    ] {
        let schedule = LinearDecay {
            learning_rate: number(case.value, "lr")?,
            constant_epochs: constant as u64,
            decay_epochs: decay as u64,
            step_time,
        };
        let epochs = 0..(constant + decay) as u64;
        let rates: Vec<f64> = epochs.map(|epoch| schedule.at_epoch(epoch)).collect();
        results.insert(name.to_string(), Tensor::from_slice(&rates));
    }
    case.expect_all(&results)
}

/// What a pool returns for one image after another.
pub fn image_pool(case: &mut Case) -> Result<()> {
    let (choices, slots) = (case.stored("choice")?, case.stored("slot")?);
    let mut pool = ImagePool::new(whole(case.value, "size")?);
    let mut returned = Vec::new();
    for index in 0..choices.size()[0] {
        let draws = Exchange {
            choice: choices.double_value(&[index]),
            slot: slots.int64_value(&[index]) as usize,
        };
        let image = case.input(&format!("image.{index}"))?.get(0);
        returned.push(pool.exchange(&image, draws));
    }
    case.expect("returned", &Tensor::stack(&returned, 0))
}
