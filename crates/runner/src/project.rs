//! Where a project's files lie: the one place that knows the layout of its folders.

use crate::error::{OrInvalidInput, invalid_input};
use crate::paths::expand;
use anyhow::Result;
use egsde_data::files::sha256_file;
use egsde_data::lock::lock;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The environment variable that names the project's folder.
pub const PROJECT_VARIABLE: &str = "EGSDE_PROJECT";

/// The folder by which a project is known.
const TASKS: &str = "configs/tasks";

/// A project's folder. Paths in its files are relative to it.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    /// Hashes of files that do not change while this program runs, shared by all clones.
    hashes: Arc<Mutex<HashMap<PathBuf, String>>>,
    /// Hashes of published inputs that no pin knows, learnt by this process, shared as well.
    learnt: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Project {
    /// A project in this folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            hashes: Arc::default(),
            learnt: Arc::default(),
        }
    }

    /// The project in a folder that somebody named; `how` says where.
    fn named(folder: &Path, how: &str) -> Result<Self> {
        let root = std::path::absolute(folder).or_invalid_input(how)?;
        if root.join(TASKS).is_dir() {
            return Ok(Self::new(root));
        }
        Err(invalid_input(format!(
            "{how}: {} is no project: it has no folder {TASKS}",
            root.display()
        )))
    }

    /// The project that is meant: the one that `--project` names, else the one that the variable
    /// `EGSDE_PROJECT` names, else the nearest one at or above the working folder.
    ///
    /// # Errors
    /// Invalid input: there is none, with how to name one.
    pub fn find(named: Option<&Path>) -> Result<Self> {
        if let Some(folder) = named {
            return Self::named(folder, "--project");
        }
        let variable = std::env::var_os(PROJECT_VARIABLE).filter(|folder| !folder.is_empty());
        if let Some(folder) = variable {
            let folder = expand(Path::new(&folder), Path::new(""));
            return Self::named(
                &folder.or_invalid_input(PROJECT_VARIABLE)?,
                PROJECT_VARIABLE,
            );
        }
        let working = std::env::current_dir().or_invalid_input("the working folder")?;
        let found = working
            .ancestors()
            .find(|folder| folder.join(TASKS).is_dir());
        found.map(Self::new).ok_or_else(|| {
            invalid_input(format!(
                "no project here: neither {} nor a folder above it has {TASKS}: change into the \
                 project's folder, or name it with --project DIR or the variable \
                 {PROJECT_VARIABLE}",
                working.display()
            ))
        })
    }

    /// [`Project::find`] for commands that need no file of a project; the working folder where
    /// there is none.
    pub fn find_or_here() -> Self {
        Self::find(None).unwrap_or_else(|_| Self::new(std::env::current_dir().unwrap_or_default()))
    }

    /// The checkout this program was built from, for tests and benchmarks.
    pub fn of_this_checkout() -> Self {
        Self::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path as the project's files give it: relative to the project, unless it is absolute; `~`
    /// and environment variables are replaced. A variable that is not set stays as it is written:
    /// [`Project::check_path`] finds it when a file is read.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        expand(path, &self.root).unwrap_or_else(|_| self.root.join(path))
    }

    /// Checks a path of a project's file; `what` is for the error.
    ///
    /// # Errors
    /// Invalid input: a variable in it that is not set.
    pub fn check_path(&self, path: impl AsRef<Path>, what: &str) -> Result<()> {
        let path = path.as_ref();
        let expanded = expand(path, &self.root);
        expanded.or_invalid_input(format!("{what} {}", path.display()))?;
        Ok(())
    }

    /// A path for people and for the project's files: relative to the project where it lies inside,
    /// absolute elsewhere.
    ///
    /// # Errors
    /// Invalid input: the working folder is not known.
    pub fn relative(&self, path: &Path) -> Result<PathBuf> {
        let path = std::path::absolute(path).or_invalid_input(path.display())?;
        Ok(path
            .strip_prefix(&self.root)
            .map_or(path.clone(), Path::to_path_buf))
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
        let mut hashes = lock(&self.hashes);
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

    /// Keeps the hash of a published input for as long as this process lives.
    pub fn learn(&self, key: &str, sha256: &str) {
        lock(&self.learnt).insert(key.into(), sha256.into());
    }

    /// What [`Project::learn`] kept.
    pub fn learnt(&self) -> BTreeMap<String, String> {
        lock(&self.learnt).clone()
    }

    /// The folder of task files.
    pub fn tasks(&self) -> PathBuf {
        self.resolve(TASKS)
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

    /// What the paper claims about its tables.
    pub fn claims(&self) -> PathBuf {
        self.resolve("results/claims.yaml")
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

    /// FID Inception's published weights.
    pub fn inception(&self) -> PathBuf {
        self.resolve("checkpoints/pt_inception-2015-12-05-6726825d.pth")
    }

    /// The configuration of FID Inception.
    pub fn inception_config(&self) -> PathBuf {
        self.resolve("configs/networks/fid_inception.yaml")
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
