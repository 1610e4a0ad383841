//! The result of evaluating folders, and what of it could not be computed.

use super::sides::Sides;
use egsde_metrics::registry::{Computation, FEWEST_FOR_FID, FEWEST_FOR_KID, FID, METRICS};
use serde::Serialize;
use std::collections::BTreeMap;

/// The result, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
pub struct FolderScores {
    /// Name of the published evaluation: `afhq` or `celebahq`.
    pub protocol: String,
    /// Values by the keys of the metric registry; without sources only those over sets.
    pub metrics: BTreeMap<String, f64>,
    /// Why metrics have no value, by their keys. Metrics per image are none of them where no sources
    /// were named.
    pub not_computed: BTreeMap<String, String>,
    /// Number of translations that all metrics are of; none where only statistics are given.
    pub translated: Option<usize>,
    /// Number of target images; none where only their statistics are given.
    pub target: Option<usize>,
    /// Number of sources compared with their translations; 0 without sources.
    pub pairs: usize,
    /// What `--skip-bad` left out, with the reason.
    pub skipped: Vec<String>,
    /// What takes no part besides: images in folders inside those that were named.
    pub notes: Vec<String>,
    /// Hash of Inception's weights, 64 hexadecimal digits; none where no image was looked at.
    pub inception_sha256: Option<String>,
}

/// Why metrics that were asked for have no value.
pub fn missing_metrics(
    values: &BTreeMap<String, f64>,
    has_pairs: bool,
    sides: &Sides,
) -> BTreeMap<String, String> {
    let mut missing = BTreeMap::new();
    for metric in METRICS {
        let is_asked = match metric.computation {
            Computation::PerImage(_) => has_pairs,
            Computation::OverSets(_) => true,
            Computation::FromAnswers | Computation::FromCosts => false,
        };
        if is_asked && !values.contains_key(metric.key) {
            let reason = if sides.have_statistics() {
                "statistics give the Fréchet distance alone".to_string()
            } else if metric == &FID {
                format!("it needs at least {FEWEST_FOR_FID} pictures")
            } else {
                format!("it needs at least {FEWEST_FOR_KID} pictures on each side")
            };
            missing.insert(metric.key.to_string(), reason);
        }
    }
    missing
}
