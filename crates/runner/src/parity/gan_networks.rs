//! Golden cases of the networks of CUT and CycleGAN.

use super::case::{Case, parse, text};
use anyhow::Result;
use egsde_models::gradient::gradient_of;
use egsde_models::networks::patch_mlp::{patch_rows, unit_rows};
use egsde_models::{Loaded, NetworkConfig, PatchMlp, Patchgan, ResnetGenerator};
use egsde_training::gan::{GanMode, Target};
use std::collections::BTreeMap;
use tch::Tensor;

/// The translation and, where the case asks for them, features on the way to it.
pub fn generator_forward(case: &mut Case) -> Result<()> {
    let generator: Loaded<ResnetGenerator> = case.frozen("network")?;
    let x = case.input("x")?;
    let layers: Vec<usize> = match case.value.get("feature_layers") {
        Some(_) => parse(case.value, "feature_layers")?,
        None => Vec::new(),
    };
    let trace = tch::no_grad(|| generator.net.trace(&x, &layers, generator.kind));
    let mut results = BTreeMap::from([("out".to_string(), trace.image)]);
    for (layer, feature) in layers.iter().zip(trace.features) {
        results.insert(format!("feature.{layer}"), feature);
    }
    case.expect_all(&results)
}

/// The translation by a generator that a checkpoint holds.
pub fn checkpoint_forward(case: &mut Case) -> Result<()> {
    let config: NetworkConfig = parse(case.value, "network")?;
    let path = case.folder.join(text(case.value, "checkpoint")?);
    let (device, kind) = (case.options.device, case.options.kind);
    let generator = Loaded::<ResnetGenerator>::open_as(&path, &config, device, kind)?;
    let x = case.input("x")?;
    case.expect("out", &tch::no_grad(|| generator.translate(&x)))
}

/// The judgement of patches, its losses as real and as fake images, and the former's gradient on
/// the image.
pub fn discriminator_forward(case: &mut Case) -> Result<()> {
    let discriminator: Loaded<Patchgan> = case.trainable("network")?;
    let x = case.input("x")?;
    let Loaded { net, kind, .. } = &discriminator;
    let out = tch::no_grad(|| net.forward(&x, *kind));
    let mode = GanMode::Lsgan;
    let gradient = gradient_of(&x, |x| mode.loss(&net.forward(x, *kind), Target::Real));
    case.expect_all(&BTreeMap::from([
        ("lsgan_real".into(), scalar(&mode.loss(&out, Target::Real))),
        ("lsgan_fake".into(), scalar(&mode.loss(&out, Target::Fake))),
        ("lsgan_real_grad_x".into(), gradient),
        ("out".into(), out),
    ]))
}

/// A single number as the cases store it, `[1]`.
pub fn scalar(value: &Tensor) -> Tensor {
    value.reshape([1])
}

/// Features of patches, projected, and those of one layer that are not.
pub fn patch_features(case: &mut Case) -> Result<()> {
    let projection: Loaded<PatchMlp> = case.frozen("network")?;
    let mut results = BTreeMap::new();
    let layers: Vec<i64> = parse(&case.value["network"], "in_channels")?;
    for layer in 0..layers.len() {
        let feature = case.input(&format!("feature.{layer}"))?;
        let positions = case.stored(&format!("ids.{layer}"))?;
        let rows = patch_rows(&feature, &positions.to_device(case.options.device));
        let sample = tch::no_grad(|| projection.net.project(layer, &rows));
        results.insert(format!("sample.{layer}"), sample);
        results.insert(format!("no_mlp.{layer}"), unit_rows(&rows));
    }
    case.expect_all(&results)
}
