//! Folders of the user's own images, of any sizes, as squares.

use super::image_folder::{image_files, read_images};
use super::image_name::check_storable_name;
use crate::error::{OrInvalidInput, all_in_order};
use anyhow::Result;
use egsde_data::crop::square;
use egsde_data::image_file::{self, Rgb};
use egsde_data::image_set::ImageSet;
use egsde_data::resize::Filter;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// At most `most` images of a folder in name order: the short side resized to `side` as by
/// Pillow with `filter`, the middle of the long side kept.
///
/// # Errors
/// Invalid input: a folder without images, or an image that cannot be read, by name.
pub fn load_cropped(folder: &Path, side: usize, most: usize, filter: Filter) -> Result<ImageSet> {
    let files: Vec<(String, PathBuf)> = image_files(folder)?.into_iter().take(most).collect();
    // Photos take many times the memory of the squares that are kept.
    read_images(&files, side, |path| read_cropped(path, side, filter))
}

/// The middle of one image; see [`load_cropped`].
///
/// # Errors
/// Invalid input: an image that cannot be read.
pub fn read_cropped(path: &Path, side: usize, filter: Filter) -> Result<Rgb> {
    let image = image_file::read(path).or_invalid_input("picture")?;
    square(&image, side, filter).or_invalid_input(path.display())
}

/// What a folder of own images holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Number of images.
    pub count: usize,
    /// How many are smaller than the squares they become.
    pub enlarged: usize,
}

/// Reads every image of a folder that is to become squares of `side` pixels.
///
/// # Errors
/// Invalid input: as [`load_cropped`], and a name under which nothing can be stored.
pub fn survey(folder: &Path, side: usize) -> Result<Survey> {
    let files = image_files(folder)?;
    for name in files.keys() {
        check_storable_name(name)?;
    }
    let paths: Vec<&PathBuf> = files.values().collect();
    let enlarged = paths.par_iter().map(|path| {
        let image = image_file::read(path).or_invalid_input("picture")?;
        Ok(usize::from(image.width.min(image.height) < side))
    });
    Ok(Survey {
        count: paths.len(),
        enlarged: all_in_order(enlarged)?.into_iter().sum(),
    })
}
