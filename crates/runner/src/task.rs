//! A translation task: source and reference pictures and the networks, each file known by its SHA-256.

use crate::dataset::ArchiveManifest;
use crate::error::{Problem, UserError};
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_metrics::cifar10::{CLASSES, Cifar10};
use egsde_metrics::pictures::Pictures;
use egsde_models::weights::sha256_file;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A file in the repository and its hash.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HashedFile {
    pub file: PathBuf,
    pub sha256: String,
}

/// Pictures: a sheet that ships, or one class of an archive's split.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PictureSource {
    /// The domain, for people and for picture names.
    pub domain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<HashedFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchivePart>,
}

/// Pictures of one class out of a data set archive.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ArchivePart {
    /// Manifest file.
    pub manifest: PathBuf,
    /// train or test.
    pub split: String,
    pub class: String,
}

/// A file in `tasks/`.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Task {
    pub name: String,
    pub title: String,
    /// Side of a picture in pixels.
    pub image_size: usize,
    pub source: PictureSource,
    /// What translations should look like; the Fréchet distance is taken to these.
    pub reference: PictureSource,
    pub diffusion: HashedFile,
    pub extractor: HashedFile,
    pub features: HashedFile,
    /// How the Fréchet distance is labelled: which features.
    pub distance: String,
}

/// Names of the tasks there are.
pub fn names(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("tasks")).into_iter().flatten().flatten();
    let stem = |e: std::fs::DirEntry| e.file_name().to_string_lossy().strip_suffix(".yaml").map(String::from);
    let mut names: Vec<String> = entries.filter_map(stem).collect();
    names.sort();
    names
}

impl HashedFile {
    /// The file's path once its hash is verified. `what` is for the error.
    pub fn verified(&self, root: &Path, what: &str) -> Result<PathBuf> {
        let path = root.join(&self.file);
        if !path.is_file() {
            return Err(Problem::user(format!(
                "{what} {} is missing: restore it (git checkout) or make it again (just train-embedded)",
                path.display()
            )));
        }
        let found = sha256_file(&path)?;
        if found != self.sha256 {
            return Err(Problem::user(format!(
                "{what} {}: SHA-256 is {found}, the task expects {}: restore the file, or put the new hash into the task",
                path.display(),
                self.sha256
            )));
        }
        Ok(path)
    }
}

impl PictureSource {
    /// Reads the pictures, hashes verified. A missing data set says what to fetch and how.
    pub fn load(&self, root: &Path, side: usize) -> Result<Pictures> {
        match (&self.sheet, &self.archive) {
            (Some(sheet), None) => {
                let path = sheet.verified(root, "picture sheet")?;
                let bytes = std::fs::read(&path).user(path.display())?;
                Pictures::from_sheet(&bytes, side, &self.domain).user(path.display())
            }
            (None, Some(part)) => part.load(root),
            _ => Err(Problem::user(format!("pictures of {}: give either sheet or archive", self.domain))),
        }
    }
}

impl ArchivePart {
    fn load(&self, root: &Path) -> Result<Pictures> {
        let manifest: ArchiveManifest = read_yaml(&root.join(&self.manifest))?;
        let (path, _) = manifest.locate(root)?;
        let data = Cifar10::open(&path)?;
        let label = CLASSES.iter().position(|c| *c == self.class);
        let label = label.ok_or_else(|| Problem::user(format!("no class {:?}; there are {}", self.class, CLASSES.join(", "))))?;
        match self.split.as_str() {
            "train" => Ok(data.train.of_class(label as u8)),
            "test" => Ok(data.test.of_class(label as u8)),
            other => Err(Problem::user(format!("no split {other:?}; there are train and test"))),
        }
    }
}

impl Task {
    /// Reads `tasks/NAME.yaml`.
    pub fn read(root: &Path, name: &str) -> Result<Self> {
        read_yaml(&root.join("tasks").join(format!("{name}.yaml")))
    }
}
