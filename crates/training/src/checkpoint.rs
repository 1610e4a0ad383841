//! The checkpoint of a training run, from which the next run resumes.

use anyhow::{Context, Result, ensure};
use egsde_models::weights::{WeightFile, read_safetensors, write_safetensors};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Where a run keeps its checkpoint, and the data that it belongs to.
pub(crate) struct CheckpointPlace<'a> {
    /// Folder of the run.
    pub folder: &'a Path,
    /// SHA-256 of the data.
    pub data_sha256: &'a str,
}

/// The state that a checkpoint holds.
pub(crate) struct SavedState {
    /// Steps already taken.
    pub step: u64,
    /// Parameters and the state of the optimizers, by name.
    pub tensors: BTreeMap<String, Tensor>,
}

fn metadata_entry<'a>(file: &'a WeightFile, key: &str) -> Result<&'a str> {
    Ok(file
        .metadata
        .get(key)
        .with_context(|| format!("it carries no {key}"))?)
}

impl CheckpointPlace<'_> {
    fn path(&self) -> PathBuf {
        self.folder.join("checkpoint.safetensors")
    }

    /// Writes the checkpoint whole, in float32; returns its path.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write<R: Serialize>(&self, recipe: &R, state: SavedState) -> Result<PathBuf> {
        let metadata = BTreeMap::from([
            ("recipe".into(), serde_json::to_string(recipe)?),
            ("step".into(), state.step.to_string()),
            ("data_sha256".into(), self.data_sha256.to_string()),
        ]);
        let file = WeightFile {
            tensors: state.tensors,
            metadata,
        };
        let path = self.path();
        write_safetensors(&path, &file, Kind::Float)?;
        Ok(path)
    }

    /// Hands the checkpoint's tensors to `restore`, if there is a checkpoint, and returns the step
    /// to go on from. `resumable_part` takes those fields from a recipe that may change when
    /// training is resumed.
    ///
    /// # Errors
    /// The checkpoint is damaged or belongs to another recipe or to other data, or those of
    /// `restore`; the error names the file.
    pub fn resume<R: DeserializeOwned + PartialEq>(
        &self,
        recipe: &R,
        resumable_part: fn(&R) -> R,
        restore: impl FnOnce(&BTreeMap<String, Tensor>) -> Result<()>,
    ) -> Result<u64> {
        let path = self.path();
        if !path.exists() {
            return Ok(0);
        }
        let step = self.read(&path, recipe, resumable_part).and_then(|state| {
            restore(&state.tensors)?;
            Ok(state.step)
        });
        step.with_context(|| path.display().to_string())
    }

    fn read<R: DeserializeOwned + PartialEq>(
        &self,
        path: &Path,
        recipe: &R,
        resumable_part: fn(&R) -> R,
    ) -> Result<SavedState> {
        let file = read_safetensors(path)?;
        let saved: R = serde_json::from_str(metadata_entry(&file, "recipe")?).context("recipe")?;
        ensure!(
            resumable_part(&saved) == resumable_part(recipe),
            "it belongs to another recipe: remove it to start from the beginning"
        );
        // Checkpoints of earlier versions do not tell it.
        let data = file.metadata.get("data_sha256");
        ensure!(
            data.is_none_or(|found| found == self.data_sha256),
            "the pictures have changed since: remove it to start from the beginning"
        );
        let step = metadata_entry(&file, "step")?.parse().context("step")?;
        Ok(SavedState {
            step,
            tensors: file.tensors,
        })
    }
}
