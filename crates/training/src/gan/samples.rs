//! Grids of training sources and their translations, to look at while a GAN trains.

use anyhow::Result;
use egsde_data::files::{make_folder, write_atomically};
use egsde_data::image_file::{Rgb, encode_png};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Images of a row.
pub(super) const COLUMNS: i64 = 16;

/// Pixels of a grid: one row per batch `[n, 3, s, s]` in [-1, 1], all of one shape.
fn grid(rows: &[Tensor]) -> Result<Rgb> {
    let mut lines = Vec::new();
    for images in rows {
        lines.push(Tensor::cat(&images.unbind(0), 2));
    }
    let whole = Tensor::cat(&lines, 1);
    let bytes = ((whole + 1.0) * 127.5 + 0.5).clamp(0.0, 255.0);
    let bytes = bytes.to_kind(Kind::Uint8).permute([1, 2, 0]).contiguous();
    let (height, width, _) = bytes.size3()?;
    Ok(Rgb {
        width: width as usize,
        height: height as usize,
        pixels: Vec::try_from(bytes.flatten(0, -1))?,
    })
}

/// Writes `samples/STEP.png` under a recipe's folder.
pub(super) fn write_grid(folder: &Path, step: u64, rows: &[Tensor]) -> Result<PathBuf> {
    let folder = folder.join("samples");
    make_folder(&folder)?;
    let path = folder.join(format!("{step:07}.png"));
    write_atomically(&path, &encode_png(&grid(rows)?)?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn rows_lie_below_each_other_and_images_side_by_side() {
        let black = Tensor::full([2, 3, 4, 4], -1.0, (Kind::Float, Device::Cpu));
        let white = black.ones_like();
        let grid = grid(&[black, white]).unwrap();
        assert_eq!((grid.width, grid.height), (8, 8));
        let half = grid.pixels.len() / 2;
        assert!(grid.pixels[..half].iter().all(|value| *value == 0));
        assert!(grid.pixels[half..].iter().all(|value| *value == 255));
    }
}
