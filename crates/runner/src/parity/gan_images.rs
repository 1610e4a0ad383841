//! Golden cases of how GANs read and write images.

use super::case::{Case, text, whole};
use anyhow::{Result, bail};
use egsde_data::image_file::Rgb;
use egsde_data::resize::{Filter, resize};
use egsde_sampler::pixels::{rounded_pixels, truncated_pixels};
use tch::Tensor;

/// An image file's pixels as the networks see them.
pub fn picture_in(case: &mut Case) -> Result<()> {
    let stored = case.stored(text(case.value, "source")?)?;
    let (height, width, _) = stored.size3()?;
    let image = Rgb {
        width: width as usize,
        height: height as usize,
        pixels: Vec::try_from(stored.contiguous().flatten(0, -1))?,
    };
    let filter = match text(case.value, "filter")? {
        "bicubic" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        other => bail!("no filter {other:?}"),
    };
    let side = whole(case.value, "size")?;
    let resized = resize(&image, side, side, filter)?;
    case.expect("x", &(resized.tensor() * 2.0 - 1.0))
}

/// A network's output as 8-bit pixels, `[n, h, w, 3]`.
pub fn picture_out(case: &mut Case) -> Result<()> {
    let x = case.input("x")?;
    let pixels: Tensor = match text(case.value, "model")? {
        "cut" | "cyclegan" => truncated_pixels(&x),
        "stargan_v2" => rounded_pixels(&x),
        other => bail!("no model {other:?}"),
    };
    case.expect("pixels", &pixels.permute([0, 2, 3, 1]))
}
