//! Per-image values and features behind a job's numbers, kept for paired comparisons.

use anyhow::{Context, Result, ensure};
use egsde_data::files::{read_bounded, sha256_hex, write_atomically};
use egsde_metrics::registry::PerImageValues;
use egsde_models::weights::{WeightFile, parse_safetensors, to_safetensors};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// File name inside a job's folder.
pub const PER_IMAGE_FILE: &str = "per_image.safetensors";

/// Largest such file: 100,000 images of 2,048 features.
const MAX_FILE: u64 = 1 << 30;

/// Name of the features among the file's tensors; the others are named by their metric.
const FEATURES: &str = "features";

/// Values and features in the order of the sources.
#[derive(Debug)]
pub struct PerImage {
    /// One number per image, by metric.
    pub values: PerImageValues,
    /// `[n, d]`, float32: what the Fréchet distance compares.
    pub features: Tensor,
}

impl PerImage {
    /// How many images there are.
    pub fn count(&self) -> usize {
        self.features.size()[0] as usize
    }

    /// Writes the file into a job's folder; returns its SHA-256.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<String> {
        let mut tensors = BTreeMap::new();
        for (metric, values) in &self.values {
            tensors.insert(metric.clone(), Tensor::from_slice(values));
        }
        tensors.insert(FEATURES.into(), self.features.shallow_clone());
        let bytes = to_safetensors(
            &WeightFile {
                tensors,
                ..Default::default()
            },
            Kind::Float,
        )?;
        write_atomically(&folder.join(PER_IMAGE_FILE), &bytes)?;
        Ok(sha256_hex(&bytes))
    }

    /// Reads the file when it is the one whose hash is known.
    ///
    /// # Errors
    /// The file is missing, was changed, or its parts differ in length.
    pub fn read(folder: &Path, sha256: &str) -> Result<Self> {
        let path = folder.join(PER_IMAGE_FILE);
        let at = path.display();
        let bytes = read_bounded(&path, MAX_FILE)?;
        ensure!(sha256_hex(&bytes) == sha256, "{at} was changed");
        let mut tensors = parse_safetensors(&bytes)?.tensors;
        let features = tensors
            .remove(FEATURES)
            .with_context(|| format!("{at}: no {FEATURES}"))?;
        let mut values = PerImageValues::new();
        for (metric, column) in tensors {
            ensure!(
                column.size() == features.size()[..1],
                "{at}: lengths differ"
            );
            values.insert(metric, Vec::<f64>::try_from(column.to_kind(Kind::Double))?);
        }
        Ok(Self { values, features })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let values = PerImageValues::from([("psnr".to_string(), vec![20.0, 21.0, 22.5])]);
        let features = Tensor::arange(12, (Kind::Float, tch::Device::Cpu)).reshape([3, 4]);
        let written = PerImage {
            values: values.clone(),
            features: features.shallow_clone(),
        };
        let sha256 = written.write(folder.path()).unwrap();
        let read = PerImage::read(folder.path(), &sha256).unwrap();
        assert!(read.features.equal(&features) && read.values == values && read.count() == 3);
        std::fs::write(folder.path().join(PER_IMAGE_FILE), "other").unwrap();
        assert!(PerImage::read(folder.path(), &sha256).is_err());
    }
}
