//! Data set archives: where they come from, how images lie in them, how they are known.

use crate::error::invalid_input;
use crate::project::Project;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_data::cifar10::Cifar10;
use egsde_data::files::sha256_file;
use egsde_data::image_set::ImageSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One archive that holds the data set; any one of a manifest's archives is enough.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// File under the manifest's folder.
    pub file: String,
    /// Hash of the whole file, 64 hexadecimal digits.
    pub sha256: String,
    /// What to type or do to get it there.
    pub fetch: String,
    /// How the images lie in it.
    pub layout: String,
}

/// A manifest of archives in `datasets/`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveManifest {
    /// Short name of the data set, as errors give it.
    pub name: String,
    /// What the data set holds and who published it, for the reader.
    pub about: String,
    /// Terms of use as the publisher states them.
    pub license: String,
    /// Where the files are put, relative to the project's root.
    pub folder: PathBuf,
    /// Archives with the same images, the preferred one first.
    pub sources: Vec<Archive>,
    /// Images in all, for the reader.
    pub counts: BTreeMap<String, u64>,
}

/// An archive whose hash was verified.
#[derive(Debug, Clone)]
pub struct LocatedArchive {
    /// The file inside the manifest's folder, resolved against the project's root.
    pub path: PathBuf,
    /// Hash of the file, equal to the manifest's.
    pub sha256: String,
}

impl ArchiveManifest {
    /// The first archive that is there, its hash verified.
    ///
    /// # Errors
    /// Invalid input: none is there, with what to fetch and how, or it is another file.
    pub fn locate(&self, project: &Project) -> Result<LocatedArchive> {
        let folder = project.resolve(&self.folder);
        for archive in &self.sources {
            let path = folder.join(&archive.file);
            if !path.exists() {
                continue;
            }
            let sha256 = sha256_file(&path)?;
            if sha256 != archive.sha256 {
                return Err(invalid_input(format!(
                    "{}: SHA-256 is {sha256}, expected {}: remove it and fetch again: {}",
                    path.display(),
                    archive.sha256,
                    archive.fetch
                )));
            }
            return Ok(LocatedArchive { path, sha256 });
        }
        let ways: Vec<&str> = self
            .sources
            .iter()
            .map(|archive| archive.fetch.as_str())
            .collect();
        Err(invalid_input(format!(
            "data set {} is missing from {}: {}",
            self.name,
            folder.display(),
            ways.join("; or ")
        )))
    }
}

/// Images of one class out of a data set archive.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ArchivePart {
    /// Manifest file.
    pub manifest: PathBuf,
    /// The training or the test images.
    pub split: Split,
    /// Name of a CIFAR-10 class, for example `cat`.
    pub class: String,
}

/// A split of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The images that networks are trained on (50,000 in CIFAR-10).
    Train,
    /// The held-out images (10,000 in CIFAR-10).
    Test,
}

impl Split {
    /// As tasks spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

impl ArchivePart {
    fn manifest(&self, project: &Project) -> Result<ArchiveManifest> {
        read_yaml(&project.resolve(&self.manifest))
    }

    /// Reads the images.
    ///
    /// # Errors
    /// Invalid input: the archive is missing or another file, or there is no such class.
    pub fn load(&self, project: &Project) -> Result<ImageSet> {
        let archive = self.manifest(project)?.locate(project)?;
        let data = Cifar10::open(&archive.path)?;
        let labelled = match self.split {
            Split::Train => &data.train,
            Split::Test => &data.test,
        };
        labelled
            .images_of_class(&self.class)
            .map_err(|error| invalid_input(error.to_string()))
    }

    /// What decides the images, by content.
    ///
    /// # Errors
    /// Invalid input: a manifest that cannot be read.
    pub fn content(&self, project: &Project) -> Result<String> {
        let manifest = self.manifest(project)?;
        let sha256 = manifest
            .sources
            .first()
            .map_or("not known", |archive| &archive.sha256);
        Ok(format!(
            "archive {sha256} {} {}",
            self.split.name(),
            self.class
        ))
    }

    /// One line that tells people which images they are.
    pub fn description(&self) -> String {
        format!(
            "{} {} of {}",
            self.split.name(),
            self.class,
            self.manifest.display()
        )
    }
}
