//! Mean squared size of a diffusion network's predicted noise, which its weight file keeps.
//!
//! The optimal variance of a reverse step depends on it (Bao et al. 2022, "Analytic-DPM", theorem 1
//! and equation 8).

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Metadata key under which a weight file keeps [`NoiseNorms`] as JSON.
pub const NOISE_NORMS_KEY: &str = "egsde.noise_norms";

/// Mean over images, noise and values of the squared predicted noise, at some time indices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseNorms {
    /// Time indices in [0, 1000), rising, at least one.
    timesteps: Vec<f64>,
    /// The mean squares at these times, in (0, 1] but for sampling noise.
    mean_squares: Vec<f64>,
}

impl NoiseNorms {
    /// Checks and keeps what was measured.
    ///
    /// # Errors
    /// The lists differ in length or are empty, times do not rise, or a mean is negative or not
    /// finite.
    pub fn new(timesteps: Vec<f64>, mean_squares: Vec<f64>) -> Result<Self> {
        let norms = Self {
            timesteps,
            mean_squares,
        };
        norms.check()?;
        Ok(norms)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            !self.timesteps.is_empty() && self.timesteps.len() == self.mean_squares.len(),
            "{} times and {} means",
            self.timesteps.len(),
            self.mean_squares.len()
        );
        ensure!(
            self.timesteps.is_sorted_by(|a, b| a < b),
            "the times do not rise"
        );
        ensure!(
            self.mean_squares.iter().all(|m| m.is_finite() && *m >= 0.0),
            "a mean square is negative or not finite"
        );
        Ok(())
    }

    /// Reads them from a weight file's metadata; none where it has none.
    ///
    /// # Errors
    /// The entry is no JSON of this form, or [`NoiseNorms::new`] refuses it.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Option<Self>> {
        let Some(text) = metadata.get(NOISE_NORMS_KEY) else {
            return Ok(None);
        };
        let norms: Self = serde_json::from_str(text).context(NOISE_NORMS_KEY)?;
        norms.check().context(NOISE_NORMS_KEY)?;
        Ok(Some(norms))
    }

    /// The mean square at the time index `t`, linear between two times and constant beyond them.
    pub fn mean_square(&self, t: f64) -> f64 {
        let after = self.timesteps.partition_point(|time| *time < t);
        if after == 0 {
            return self.mean_squares[0];
        }
        let before = after - 1;
        if after == self.timesteps.len() {
            return self.mean_squares[before];
        }
        let width = self.timesteps[after] - self.timesteps[before];
        let part = (t - self.timesteps[before]) / width;
        self.mean_squares[before] * (1.0 - part) + self.mean_squares[after] * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_linear_between_times_and_constant_beyond() {
        let norms = NoiseNorms::new(vec![10.0, 20.0, 40.0], vec![0.2, 0.4, 0.8]).unwrap();
        for (t, mean) in [
            (0.0, 0.2),
            (10.0, 0.2),
            (15.0, 0.3),
            (30.0, 0.6),
            (99.0, 0.8),
        ] {
            assert!((norms.mean_square(t) - mean).abs() < 1e-12, "{t}");
        }
    }

    #[test]
    fn metadata_comes_back_and_damage_is_refused() {
        let norms = NoiseNorms::new(vec![0.0, 5.0], vec![0.5, 1.0]).unwrap();
        let text = serde_json::to_string(&norms).unwrap();
        let metadata = BTreeMap::from([(NOISE_NORMS_KEY.to_string(), text)]);
        assert_eq!(NoiseNorms::from_metadata(&metadata).unwrap(), Some(norms));
        assert_eq!(NoiseNorms::from_metadata(&BTreeMap::new()).unwrap(), None);
        for bad in [
            r#"{"timesteps": [1], "mean_squares": []}"#,
            r#"{"timesteps": [2, 1], "mean_squares": [1, 1]}"#,
            r#"{"timesteps": [1], "mean_squares": [-1]}"#,
            "1",
        ] {
            let metadata = BTreeMap::from([(NOISE_NORMS_KEY.to_string(), bad.to_string())]);
            assert!(NoiseNorms::from_metadata(&metadata).is_err(), "{bad}");
        }
    }
}
