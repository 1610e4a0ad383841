//! Golden cases of how GANs read and write images.

use super::case::{Case, parse, text, whole};
use crate::plan::job::resize_filter;
use anyhow::{Result, bail, ensure};
use egsde_data::image_file::Rgb;
use egsde_data::resize::{Filter, resize};
use egsde_sampler::generators::GeneratorName;

/// An image file's pixels as the networks see them.
pub fn picture_in(case: &mut Case) -> Result<()> {
    let stored = case.stored(text(case.value, "source")?)?;
    let (height, width, _) = stored.size3()?;
    let image = Rgb {
        width: width as usize,
        height: height as usize,
        pixels: Vec::try_from(stored.contiguous().flatten(0, -1))?,
    };
    let named = match text(case.value, "filter")? {
        "bicubic" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        other => bail!("no filter {other:?}"),
    };
    let filter = resize_filter(Some(parse(case.value, "model")?));
    ensure!(
        filter == named,
        "rows resize by {filter:?}, the case by {named:?}"
    );
    let side = whole(case.value, "size")?;
    let resized = resize(&image, side, side, filter)?;
    case.expect("x", &(resized.tensor() * 2.0 - 1.0))
}

/// A network's output as 8-bit pixels, `[n, h, w, 3]`.
pub fn picture_out(case: &mut Case) -> Result<()> {
    let x = case.input("x")?;
    let model: GeneratorName = parse(case.value, "model")?;
    let pixels = (model.image(&x) * 255.0).round();
    case.expect("pixels", &pixels.permute([0, 2, 3, 1]))
}
