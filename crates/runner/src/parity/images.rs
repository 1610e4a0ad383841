//! Golden cases of reading, resizing and writing images as Pillow does it.

use super::case::{Case, check_shape, number, text};
use anyhow::{Context, Result};
use egsde_data::image_file::{self, Rgb};
use egsde_data::resize::{Filter, resize, resize_short_side};
use std::path::{Path, PathBuf};
use tch::Tensor;

/// The image files of a folder in name order.
pub fn read_images(folder: &Path) -> Result<Vec<Rgb>> {
    let entries = std::fs::read_dir(folder);
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    paths.iter().map(|path| image_file::read(path)).collect()
}

/// The 8-bit values of a tensor `[height, width, 3]`.
fn pixels(tensor: &Tensor) -> Result<Vec<u8>> {
    Ok(Vec::<u8>::try_from(tensor.contiguous().flatten(0, -1))?)
}

/// Compares pixels with the stored ones. The error is the largest difference in 8-bit levels.
fn expect_pixels(case: &mut Case, name: &str, got: &Rgb) -> Result<()> {
    let want = case.stored(name)?;
    check_shape(name, &want, &[got.height as i64, got.width as i64, 3])?;
    let want = pixels(&want)?;
    let levels = got
        .pixels
        .iter()
        .zip(&want)
        .map(|(a, b)| a.abs_diff(*b))
        .max()
        .unwrap_or(0);
    case.note(f64::from(levels), number(&case.value["expected"], name)?);
    Ok(())
}

/// An image read, resized in several ways, and written as JPEG.
pub fn pillow(case: &mut Case) -> Result<()> {
    let source = image_file::read(&case.folder.join(text(case.value, "image")?))?;
    expect_pixels(case, "decoded_jpeg", &source)?;
    for side in [256, 64] {
        let small = resize_short_side(&source, side, Filter::Bicubic)?;
        expect_pixels(case, &format!("bicubic_{side}"), &small)?;
    }
    for side in [256, 299] {
        let square = resize(&source, side, side, Filter::Bilinear)?;
        expect_pixels(case, &format!("bilinear_{side}x{side}"), &square)?;
    }
    // How saved_128 was made is not in the case: it is the input of the JPEG step.
    let saved = case.stored("saved_128")?;
    let (height, width, _) = saved.size3()?;
    let saved = Rgb {
        width: width as usize,
        height: height as usize,
        pixels: pixels(&saved)?,
    };
    let written = image_file::decode(&image_file::encode_jpeg75(&saved)?)?;
    expect_pixels(case, "saved_128_jpeg75", &written)
}
