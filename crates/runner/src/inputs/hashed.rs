//! Files and folders that a task names together with their SHA-256.

use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::image_folder::folder_sha256;
use crate::project::Project;
use anyhow::Result;
use egsde_data::nearest::offer_path;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A file and its hash.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HashedFile {
    /// Path relative to the project's root.
    pub file: PathBuf,
    /// Hash that the file must have, 64 hexadecimal digits.
    pub sha256: String,
}

/// A folder of the user's own images and the hash of what lies in it.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HashedFolder {
    /// Path relative to the project's root.
    pub path: PathBuf,
    /// [`folder_sha256`] that the folder must have.
    pub sha256: String,
}

/// Folders of files that ship with the project.
const SHIPPED: [&str; 2] = ["checkpoints/embedded", "datasets/embedded"];

/// How the names of the GANs' weights end, which have a recipe of their own.
const GANS: [&str; 2] = ["_cut.safetensors", "_cyclegan.safetensors"];

/// How a file or folder that is not the task's comes back.
fn how_to_restore(path: &Path) -> &'static str {
    let name = path.to_string_lossy();
    if path.starts_with(SHIPPED[0]) && GANS.iter().any(|end| name.ends_with(end)) {
        "restore it (git checkout) or train it (just train-rivals)"
    } else if SHIPPED.iter().any(|folder| path.starts_with(folder)) {
        "restore it (git checkout) or make it again (just train-embedded)"
    } else {
        "put it back, or take up what is there now (egsde task check NAME --update)"
    }
}

/// The error of a file or folder with another hash.
fn other_hash_error(
    what: &str,
    path: &Path,
    found: &str,
    expected: &str,
    mend: &str,
) -> anyhow::Error {
    invalid_input(format!(
        "{what} {}: SHA-256 is {found}, the task expects {expected}: {mend}",
        path.display()
    ))
}

impl HashedFile {
    /// One line on the file where it is missing, with how it comes back; none where it is there.
    pub fn missing(&self, project: &Project) -> Option<String> {
        let path = project.resolve(&self.file);
        let Self { sha256, .. } = self;
        let mend = how_to_restore(&self.file);
        (!path.is_file()).then(|| format!("{} (SHA-256 {sha256}): {mend}", path.display()))
    }

    /// The file's path once its hash is verified. `what` is for the error.
    ///
    /// # Errors
    /// Invalid input: the file is missing or another one.
    pub fn verified(&self, project: &Project, what: &str) -> Result<PathBuf> {
        let path = project.resolve(&self.file);
        let mend = how_to_restore(&self.file);
        if !path.is_file() {
            return Err(invalid_input(format!(
                "{what} {} is missing: {mend}{}",
                path.display(),
                offer_path(&path)
            )));
        }
        let found = project.sha256_once(&path).or_invalid_input(what)?;
        if found != self.sha256 {
            return Err(other_hash_error(what, &path, &found, &self.sha256, mend));
        }
        Ok(path)
    }
}

impl HashedFolder {
    /// One line on the folder where it is missing; none where it is there.
    pub fn missing(&self, project: &Project) -> Option<String> {
        let path = project.resolve(&self.path);
        let mend = how_to_restore(&self.path);
        (!path.is_dir()).then(|| format!("folder {}: {mend}", path.display()))
    }

    /// The folder's path once the hash of its images is verified.
    ///
    /// # Errors
    /// Invalid input: the folder is missing or holds other images.
    pub fn verified(&self, project: &Project) -> Result<PathBuf> {
        if let Some(missing) = self.missing(project) {
            return Err(invalid_input(format!("missing: {missing}")));
        }
        let path = project.resolve(&self.path);
        let found = project.hash_once(&path, folder_sha256)?;
        if found != self.sha256 {
            let mend = how_to_restore(&self.path);
            return Err(other_hash_error(
                "pictures of",
                &path,
                &found,
                &self.sha256,
                mend,
            ));
        }
        Ok(path)
    }
}
