//! Where a project's files lie: the one place that knows the layout of its folders.

use anyhow::Result;
use egsde_data::files::sha256_file;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A project's folder. Paths in its files are relative to it.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    /// Hashes of files that do not change while this program runs, shared by all clones.
    hashes: Arc<Mutex<HashMap<PathBuf, String>>>,
}

impl Project {
    /// A project in this folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            hashes: Arc::default(),
        }
    }

    /// The checkout this program was built from, for tests and benchmarks.
    pub fn of_this_checkout() -> Self {
        Self::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path as the project's files and options give it: relative to the project, unless it is
    /// absolute.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// The hash of a file or folder that does not change while this program runs, computed once.
    ///
    /// # Errors
    /// Those of `compute`.
    pub fn hash_once(
        &self,
        path: &Path,
        compute: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<String> {
        // The lock is held meanwhile: workers of several devices ask for the same files at once.
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sha256) = hashes.get(path) {
            return Ok(sha256.clone());
        }
        let sha256 = compute(path)?;
        hashes.insert(path.into(), sha256.clone());
        Ok(sha256)
    }

    /// SHA-256 of a file that does not change while this program runs, computed once.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sha256_once(&self, path: &Path) -> Result<String> {
        self.hash_once(path, sha256_file)
    }

    /// The folder of task files.
    pub fn tasks(&self) -> PathBuf {
        self.resolve("configs/tasks")
    }

    /// The file of a task.
    pub fn task_file(&self, name: &str) -> PathBuf {
        self.tasks().join(format!("{name}.yaml"))
    }

    /// The folder of Slurm sites.
    pub fn clusters(&self) -> PathBuf {
        self.resolve("configs/clusters")
    }

    /// The file of a Slurm site.
    pub fn cluster_file(&self, name: &str) -> PathBuf {
        self.clusters().join(format!("{name}.yaml"))
    }

    /// Numbers other papers and the paper itself published.
    pub fn published_numbers(&self) -> PathBuf {
        self.resolve("results/published.csv")
    }

    /// SHA-256 of published files and folders as first seen on this machine.
    pub fn pins(&self) -> PathBuf {
        self.resolve("datasets/pins.yaml")
    }

    /// Manifest of CIFAR-10, which the embedded scale is made of.
    pub fn cifar10_manifest(&self) -> PathBuf {
        self.resolve("datasets/cifar10.yaml")
    }

    /// The sheet of a class's test images at the embedded scale.
    pub fn embedded_sheet(&self, class: &str) -> PathBuf {
        self.resolve(format!("datasets/embedded/test_{class}.png"))
    }

    /// Where features of reference images are kept, by content, for runs in `runs_dir`.
    pub fn reference_cache(&self, runs_dir: &Path) -> PathBuf {
        self.resolve(runs_dir).join(".statistics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_once_per_project() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, "a").unwrap();
        let project = Project::new(folder.path());
        let first = project.clone().sha256_once(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            project.sha256_once(&path).unwrap(),
            first,
            "clones share what is known"
        );
        assert!(Project::new(folder.path()).sha256_once(&path).is_err());
    }
}
