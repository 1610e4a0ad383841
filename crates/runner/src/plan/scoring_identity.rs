//! What decides the scores of given images, so that a new metric or feature network scores what is
//! there and samples nothing.

use crate::inputs::task::Task;
use crate::project::Project;
use anyhow::Result;
use egsde_data::files::sha256_hex;
use egsde_metrics::registry::Metric;
use serde::{Deserialize, Serialize};

/// Raised when a metric's computation changes on purpose: images are then scored again.
pub const SCORING_VERSION: u32 = 1;

/// Everything besides the images that decides a job's scores, by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoringIdentity {
    /// [`SCORING_VERSION`] of the program that computes the scores.
    pub scoring_version: u32,
    /// Keys of the metrics.
    pub metrics: Vec<String>,
    /// SHA-256 of what decides protocol, feature network, sources, reference images and the
    /// target's class.
    pub sha256: String,
}

impl ScoringIdentity {
    /// What decides the scores of a task's translations.
    ///
    /// # Errors
    /// Invalid input: a manifest that cannot be read.
    pub fn new(task: &Task, metrics: &[&'static Metric], project: &Project) -> Result<Self> {
        let decides = serde_json::json!([
            task.protocol,
            task.image_size,
            task.source.content(project)?,
            task.reference.content(project)?,
            task.features.content(project)?,
            task.target_class(project),
        ]);
        Ok(Self {
            scoring_version: SCORING_VERSION,
            metrics: metrics
                .iter()
                .map(|metric| metric.key.to_string())
                .collect(),
            sha256: sha256_hex(decides.to_string().as_bytes()),
        })
    }
}
