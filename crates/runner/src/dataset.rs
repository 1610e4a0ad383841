//! Data set manifests: where pictures come from, how they lie, how to know them.

use crate::error::Problem;
use anyhow::Result;
use egsde_models::files::sha256_file;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One archive that holds the data set; any one of a manifest's sources is enough.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// File under the manifest's folder.
    pub file: String,
    pub sha256: String,
    /// What to type or do to get it there.
    pub fetch: String,
    /// How the pictures lie in it.
    pub layout: String,
}

/// A manifest in `datasets/`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveManifest {
    pub name: String,
    pub about: String,
    pub license: String,
    /// Where the files are put, relative to the project's root.
    pub folder: PathBuf,
    pub sources: Vec<Source>,
    /// Pictures in all, for the reader.
    pub counts: std::collections::BTreeMap<String, u64>,
}

impl ArchiveManifest {
    /// The first source that is there, its hash verified: (path, SHA-256).
    pub fn locate(&self, root: &Path) -> Result<(PathBuf, String)> {
        for source in &self.sources {
            let path = root.join(&self.folder).join(&source.file);
            if !path.exists() {
                continue;
            }
            let found = sha256_file(&path)?;
            if found != source.sha256 {
                let text = format!(
                    "{}: SHA-256 is {found}, expected {}: remove it and fetch again: {}",
                    path.display(),
                    source.sha256,
                    source.fetch
                );
                return Err(Problem::user(text));
            }
            return Ok((path, found));
        }
        let ways: Vec<String> = self.sources.iter().map(|s| s.fetch.clone()).collect();
        let folder = root.join(&self.folder);
        Err(Problem::user(format!(
            "data set {} is missing from {}: {}",
            self.name,
            folder.display(),
            ways.join("; or ")
        )))
    }
}
