//! Features of reference images, kept on disk by content.

use anyhow::Result;
use egsde_data::files::{sha256_file, sha256_hex};
use egsde_models::weights::{WeightFile, read_safetensors, write_safetensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Name of the features among the file's tensors.
const FEATURES: &str = "features";

/// Metadata key of the hash over a kept file's numbers.
const SEAL: &str = "egsde.sha256";

/// A folder of kept features.
#[derive(Debug, Clone)]
pub struct ReferenceCache {
    folder: PathBuf,
}

fn seal(features: &Tensor) -> Result<String> {
    let values = Vec::<f32>::try_from(features.to_kind(Kind::Float).flatten(0, -1))?;
    let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(sha256_hex(&bytes))
}

impl ReferenceCache {
    /// A cache in this folder, which is made when something is kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The file for features of these images: its name is the hash of all that decides them.
    /// `conditions` is what decides them besides the images (protocol, network weights).
    ///
    /// # Errors
    /// An image cannot be read.
    pub fn file(&self, conditions: &str, images: &[&PathBuf]) -> Result<PathBuf> {
        let mut text = conditions.to_string();
        for path in images {
            text += &sha256_file(path)?;
        }
        let name = &sha256_hex(text.as_bytes())[..24];
        Ok(self.folder.join(format!("{name}.safetensors")))
    }

    /// Kept features `[n, d]`, unless they are missing or were changed.
    pub fn read(file: &Path) -> Option<Tensor> {
        let mut kept = read_safetensors(file).ok()?;
        let features = kept.tensors.remove(FEATURES)?;
        let expected = kept.metadata.get(SEAL)?;
        (seal(&features).ok()? == *expected).then_some(features)
    }

    /// Keeps features.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(file: &Path, features: &Tensor) -> Result<()> {
        let tensors = BTreeMap::from([(FEATURES.to_string(), features.shallow_clone())]);
        let metadata = BTreeMap::from([(SEAL.to_string(), seal(features)?)]);
        write_safetensors(file, &WeightFile { tensors, metadata }, Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn kept_features_that_were_changed_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.safetensors");
        let features = Tensor::randn([5, 3], (Kind::Float, Device::Cpu));
        ReferenceCache::write(&path, &features).unwrap();
        assert!(ReferenceCache::read(&path).unwrap().equal(&features));
        let whole = std::fs::read(&path).unwrap();
        for at in whole.len() - 60..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            assert!(ReferenceCache::read(&path).is_none(), "byte {at}");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(ReferenceCache::read(&path).is_none());
    }
}
