//! Images of runs: whether they were touched, and how far two of them are apart.

use super::{RunFile, paths_below};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An image file, or the file of their hashes, as it lies there.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageState {
    pub path: PathBuf,
    pub modified: SystemTime,
    pub sha256: String,
}

/// All images below a folder and the files of their hashes, by path.
pub fn image_states(folder: &Path) -> Vec<ImageState> {
    let mut paths = Vec::new();
    paths_below(folder, &mut paths);
    paths.retain(|path| {
        path.ends_with("images.sha256") || path.parent().unwrap().ends_with("images")
    });
    paths.sort();
    let states = paths.into_iter().map(|path| ImageState {
        modified: path.metadata().unwrap().modified().unwrap(),
        sha256: egsde_data::files::sha256_file(&path).unwrap(),
        path,
    });
    states.collect()
}

/// The bytes of an image's pixels.
pub fn pixels(file: &RunFile) -> Vec<u8> {
    image::load_from_memory(&file.bytes)
        .unwrap()
        .into_rgb8()
        .into_raw()
}

/// By how many levels of 255 any two images of two runs differ.
#[track_caller]
pub fn largest_difference(left: &[RunFile], right: &[RunFile]) -> u8 {
    assert_eq!(left.len(), right.len());
    let mut largest = 0;
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left.name, right.name);
        for (a, b) in pixels(left).into_iter().zip(pixels(right)) {
            largest = largest.max(a.abs_diff(b));
        }
    }
    largest
}
