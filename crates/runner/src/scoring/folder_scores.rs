//! The result of evaluating folders.

use serde::Serialize;
use std::collections::BTreeMap;

/// The result, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
pub struct FolderScores {
    /// Name of the published evaluation: `afhq` or `celebahq`.
    pub protocol: String,
    /// Values by the keys of the metric registry; without sources only those over sets.
    pub metrics: BTreeMap<String, f64>,
    /// Why metrics have no value, by their keys; metrics per image only where sources were named.
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
