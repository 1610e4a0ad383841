//! Golden cases of StarGAN v2's networks and of the masks of faces.

use super::case::{Case, number};
use anyhow::Result;
use egsde_models::networks::wing_fan::LANDMARKS;
use egsde_models::networks::wing_masks::Masks;
use egsde_models::{
    Loaded, StarganV2Discriminator, StarganV2Generator, StarganV2Mapping, StarganV2StyleEncoder,
    WingFan,
};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Styles of random vectors, the mean style of a domain, and one style moved towards it.
pub fn mapping(case: &mut Case) -> Result<()> {
    let mapping: Loaded<StarganV2Mapping> = case.frozen("network")?;
    let (z, many, y) = (case.input("z")?, case.input("many")?, case.input("y")?);
    let Loaded { net, kind, .. } = &mapping;
    let style = tch::no_grad(|| net.forward(&z, &y, *kind));
    let first = y.narrow(0, 0, 1).expand([many.size()[0]], false);
    let styles = tch::no_grad(|| net.forward(&many, &first, *kind));
    let average = styles.mean_dim([0i64].as_slice(), true, Kind::Float);
    let moved = average.lerp(&style.narrow(0, 0, 1), number(case.value, "psi")?);
    case.expect_all(&BTreeMap::from([
        ("style".into(), style),
        ("average".into(), average),
        ("moved".into(), moved),
    ]))
}

/// Styles of images.
pub fn style(case: &mut Case) -> Result<()> {
    let encoder: Loaded<StarganV2StyleEncoder> = case.frozen("network")?;
    let (x, y) = (case.input("x")?, case.input("y")?);
    let style = tch::no_grad(|| encoder.net.forward(&x, &y, encoder.kind));
    case.expect("style", &style)
}

/// The masks that a case gives, if it gives any.
fn masks(case: &Case) -> Result<Option<Masks>> {
    if case.value["inputs"].get("mask.0").is_none() {
        return Ok(None);
    }
    Ok(Some(Masks {
        face: case.input("mask.0")?,
        inner: case.input("mask.1")?,
    }))
}

/// Images under given styles.
pub fn generator(case: &mut Case) -> Result<()> {
    let generator: Loaded<StarganV2Generator> = case.frozen("network")?;
    let (x, style, masks) = (case.input("x")?, case.input("s")?, masks(case)?);
    let Loaded { net, kind, .. } = &generator;
    let out = tch::no_grad(|| net.forward(&x, &style, masks.as_ref(), *kind));
    case.expect("out", &out)
}

/// Images under the styles of reference images.
pub fn reference(case: &mut Case) -> Result<()> {
    let generator: Loaded<StarganV2Generator> = case.frozen("generator")?;
    let encoder: Loaded<StarganV2StyleEncoder> = case.frozen("style_encoder")?;
    let (x, y, reference) = (case.input("x")?, case.input("y")?, case.input("reference")?);
    let style = tch::no_grad(|| encoder.net.forward(&reference, &y, encoder.kind));
    let out = tch::no_grad(|| generator.net.forward(&x, &style, None, generator.kind));
    case.expect_all(&BTreeMap::from([
        ("style".into(), style),
        ("out".into(), out),
    ]))
}

/// The logits of given domains.
pub fn discriminator(case: &mut Case) -> Result<()> {
    let discriminator: Loaded<StarganV2Discriminator> = case.frozen("network")?;
    let (x, y) = (case.input("x")?, case.input("y")?);
    let Loaded { net, kind, .. } = &discriminator;
    case.expect("out", &tch::no_grad(|| net.forward(&x, &y, *kind)))
}

/// The landmark network's maps.
pub fn wing_heatmaps(case: &mut Case) -> Result<()> {
    let fan: Loaded<WingFan> = case.frozen("network")?;
    let x = case.input("x")?;
    let maps = tch::no_grad(|| fan.net.heatmaps(&x, fan.kind));
    case.expect("heatmaps", &maps)
}

/// The masks of heat maps that are one bump each.
pub fn wing_masks(case: &mut Case) -> Result<()> {
    const SIDE: i64 = 64;
    let bumps = case.stored("bumps")?.reshape([LANDMARKS, 4, 1, 1]);
    let [row, column, width, height] = [0, 1, 2, 3].map(|index| bumps.select(1, index));
    let positions = Tensor::arange(SIDE, (Kind::Float, bumps.device()));
    let rows = (positions.reshape([1, SIDE, 1]) - row).square();
    let columns = (positions.reshape([1, 1, SIDE]) - column).square();
    let maps = height * (-(rows + columns) / (width.square() * 2.0)).exp();
    let masks = Masks::from_heatmaps(&maps.unsqueeze(0).to_device(case.options.device));
    case.expect_all(&BTreeMap::from([
        ("mask.0".into(), masks.face),
        ("mask.1".into(), masks.inner),
    ]))
}
