//! Fréchet distances of a job's pictures and of draws of them. Each costs a decomposition, so they are kept in the job's
//! folder: a table that was printed once is printed at once.

use crate::evidence::Evidence;
use anyhow::Result;
use egsde_metrics::frechet::Anchor;
use egsde_metrics::spread::draws;
use egsde_models::files::{read_bounded, sha256_hex, write_atomically};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Draws of each job's pictures.
pub const RESAMPLES: usize = 200;

/// Draws are the same for all jobs, so that a difference sees the same pictures on both sides.
pub const SEED: u64 = 0;

/// File name inside a job's folder.
pub const DISTANCES: &str = "distances.json";

/// Largest such file; it has some kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// Distances to `anchor`: of all pictures first, then of each draw; [`RESAMPLES`] + 1 numbers.
pub fn of_draws(evidence: &Evidence, anchor: &Anchor) -> Result<Vec<f64>> {
    let n = evidence.pairs.len();
    let drawable = anchor.drawable(&evidence.features);
    let all = anchor.distance_of_draw(&drawable, &(0..n).collect::<Vec<_>>());
    let drawn = draws(n, SEED, RESAMPLES)?;
    std::iter::once(all)
        .chain(
            drawn
                .iter()
                .map(|drawn| anchor.distance_of_draw(&drawable, drawn)),
        )
        .collect()
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// Hash of everything the numbers are of.
    of: String,
    /// Hash of that and the numbers.
    sha256: String,
    values: Vec<f64>,
}

fn seal(of: &str, values: &[f64]) -> Result<String> {
    Ok(sha256_hex(
        format!("{of} {}", serde_json::to_string(values)?).as_bytes(),
    ))
}

/// Where one job's distances are kept, and what they are of.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    of: String,
}

impl Kept {
    /// In a job's folder. `task` is whatever decides what the pictures are compared with; other code counts as another way to
    /// compute.
    pub fn new(job: &Path, evidence_sha256: &str, task: &str) -> Self {
        let of = sha256_hex(
            format!(
                "{evidence_sha256} {RESAMPLES} {SEED} {} {task}",
                crate::CODE
            )
            .as_bytes(),
        );
        Self {
            path: job.join(DISTANCES),
            of,
        }
    }

    /// The numbers, when they are there, whole, and of the same things.
    pub fn read(&self) -> Option<Vec<f64>> {
        let found: Sealed =
            serde_json::from_slice(&read_bounded(&self.path, MAX_FILE).ok()?).ok()?;
        let whole = found.values.len() == RESAMPLES + 1
            && seal(&found.of, &found.values).ok()? == found.sha256;
        (whole && found.of == self.of).then_some(found.values)
    }

    /// Keeps them.
    pub fn write(&self, values: &[f64]) -> Result<()> {
        let sealed = Sealed {
            of: self.of.clone(),
            sha256: seal(&self.of, values)?,
            values: values.to_vec(),
        };
        write_atomically(&self.path, &serde_json::to_vec(&sealed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_numbers_come_back_to_the_bit_and_only_for_the_same_things() {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<f64> = (0..=RESAMPLES)
            .map(|i| (i as f64 * 0.37).sin() * 1e-3 / 3.0)
            .collect();
        let kept = Kept::new(folder.path(), "evidence", "task");
        assert_eq!(kept.read(), None);
        kept.write(&values).unwrap();
        assert_eq!(kept.read().as_ref(), Some(&values));
        assert_eq!(
            Kept::new(folder.path(), "other evidence", "task").read(),
            None
        );
        assert_eq!(
            Kept::new(folder.path(), "evidence", "other task").read(),
            None
        );
    }

    #[test]
    fn a_damaged_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path(), "evidence", "task");
        kept.write(&[1.5; RESAMPLES + 1]).unwrap();
        let path = folder.path().join(DISTANCES);
        let text = std::fs::read_to_string(&path).unwrap();
        for damaged in [
            text.replacen("1.5", "1.4", 1),
            text[..text.len() / 2].to_string(),
            text.replacen("1.5,", "", 1),
            String::new(),
        ] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(kept.read(), None);
        }
    }
}
