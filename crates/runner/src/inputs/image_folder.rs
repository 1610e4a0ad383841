//! Folders of image files.

use crate::error::{OrInvalidInput, invalid_input};
use anyhow::Result;
use egsde_data::files::{sha256_file, sha256_hex};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Extensions of image files, lower case.
pub const IMAGE_EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Whether a file's name has the extension of an image.
fn is_image(path: &Path) -> bool {
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    IMAGE_EXTENSIONS.contains(&extension.as_str())
}

/// Image files of a folder by stem, in name order.
///
/// # Errors
/// Invalid input: no image at all, or two with one stem.
pub fn image_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let entries = std::fs::read_dir(folder);
    for entry in entries.or_invalid_input(format!("cannot read {}", folder.display()))? {
        let path = entry.or_invalid_input(folder.display())?.path();
        if !is_image(&path) {
            continue;
        }
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(other) = found.insert(stem, path.clone()) {
            return Err(invalid_input(format!(
                "{} and {} have the same stem: remove one",
                other.display(),
                path.display()
            )));
        }
    }
    if found.is_empty() {
        return Err(invalid_input(format!(
            "{} holds no .jpg or .png picture",
            folder.display()
        )));
    }
    Ok(found)
}

/// Hash of a folder of images: over its file names and their SHA-256, in name order.
///
/// # Errors
/// Invalid input: as [`image_files`]; or a file that cannot be read.
pub fn folder_sha256(folder: &Path) -> Result<String> {
    let mut text = String::new();
    for path in image_files(folder)?.values() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text += &format!("{}  {name}\n", sha256_file(path)?);
    }
    Ok(sha256_hex(text.as_bytes()))
}
