//! Fréchet distances of bootstrap draws of a job's images. Each costs a decomposition, so they are
//! kept in the job's folder: a table that was printed once is printed at once.

use crate::plan::ScoringIdentity;
use crate::store::per_image::PerImage;
use anyhow::Result;
use egsde_data::files::{read_bounded, sha256_hex, write_atomically};
use egsde_metrics::frechet::FrechetReference;
use egsde_metrics::intervals::bootstrap_draws;
use egsde_models::in_one_thread;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Draws of each job's images.
pub const RESAMPLES: usize = 200;

/// Draws are the same for all jobs, so that a difference sees the same images on both sides.
pub const BOOTSTRAP_SEED: u64 = 0;

/// File name inside a job's folder.
pub const BOOTSTRAP_FILE: &str = "fid_bootstrap.json";

/// Largest such file; it has some kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// Distances to the reference: of all images first, then of each draw; [`RESAMPLES`] + 1 numbers.
/// The decompositions are small: cores share the draws, not a decomposition.
///
/// # Errors
/// A decomposition that fails.
pub fn bootstrap_distances(per_image: &PerImage, reference: &FrechetReference) -> Result<Vec<f64>> {
    let count = per_image.count();
    let projected = reference.project(&per_image.features);
    let all: Vec<usize> = (0..count).collect();
    let mut draws = vec![all];
    draws.extend(bootstrap_draws(count, BOOTSTRAP_SEED, RESAMPLES)?);
    draws
        .par_iter()
        .map(|draw| in_one_thread(|| reference.distance_to_draw(&projected, draw)))
        .collect()
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// Hash of everything that decides the numbers.
    decided_by: String,
    /// Hash of that and the numbers.
    sha256: String,
    values: Vec<f64>,
}

fn seal(decided_by: &str, values: &[f64]) -> Result<String> {
    Ok(sha256_hex(
        format!("{decided_by} {}", serde_json::to_string(values)?).as_bytes(),
    ))
}

/// Where one job's distances are kept, and what decides them.
#[derive(Debug)]
pub struct BootstrapCache {
    path: PathBuf,
    decided_by: String,
}

impl BootstrapCache {
    /// In a job's folder. Another commit of this program counts as another way to compute.
    pub fn new(job: &Path, per_image_sha256: &str, scoring: &ScoringIdentity) -> Self {
        let (code, scoring) = (crate::CODE, &scoring.sha256);
        let decides = format!("{per_image_sha256} {RESAMPLES} {BOOTSTRAP_SEED} {code} {scoring}");
        Self {
            path: job.join(BOOTSTRAP_FILE),
            decided_by: sha256_hex(decides.as_bytes()),
        }
    }

    /// The numbers, when they are there, whole, and decided by the same things.
    pub fn read(&self) -> Option<Vec<f64>> {
        let bytes = read_bounded(&self.path, MAX_FILE).ok()?;
        let found: Sealed = serde_json::from_slice(&bytes).ok()?;
        let is_whole = found.values.len() == RESAMPLES + 1
            && seal(&found.decided_by, &found.values).ok()? == found.sha256;
        (is_whole && found.decided_by == self.decided_by).then_some(found.values)
    }

    /// Keeps them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, values: &[f64]) -> Result<()> {
        let sealed = Sealed {
            decided_by: self.decided_by.clone(),
            sha256: seal(&self.decided_by, values)?,
            values: values.to_vec(),
        };
        write_atomically(&self.path, &serde_json::to_vec(&sealed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scores::testing::scores;

    fn cache(folder: &Path, per_image_sha256: &str) -> BootstrapCache {
        BootstrapCache::new(folder, per_image_sha256, &scores().scoring.identity)
    }

    #[test]
    fn kept_numbers_come_back_to_the_bit_and_only_for_the_same_things() {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<f64> = (0..=RESAMPLES)
            .map(|i| (i as f64 * 0.37).sin() * 1e-3 / 3.0)
            .collect();
        let kept = cache(folder.path(), "per-image");
        assert_eq!(kept.read(), None);
        kept.write(&values).unwrap();
        assert_eq!(kept.read().as_ref(), Some(&values));
        assert_eq!(cache(folder.path(), "other").read(), None);
        let other = ScoringIdentity {
            sha256: "other".into(),
            ..scores().scoring.identity
        };
        assert_eq!(
            BootstrapCache::new(folder.path(), "per-image", &other).read(),
            None
        );
    }

    #[test]
    fn a_damaged_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let kept = cache(folder.path(), "per-image");
        kept.write(&[1.5; RESAMPLES + 1]).unwrap();
        let path = folder.path().join(BOOTSTRAP_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = text.replacen("1.5", "1.4", 1);
        let cut = text[..text.len() / 2].to_string();
        let shorter = text.replacen("1.5,", "", 1);
        for damaged in [changed, cut, shorter, String::new()] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(kept.read(), None);
        }
    }
}
