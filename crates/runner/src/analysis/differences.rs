//! Differences of rows to a chosen one on the same images and seeds, with paired bootstrap
//! intervals.

use super::paired::PairedRows;
use crate::config::experiment::Experiment;
use anyhow::Result;
use egsde_metrics::intervals::Interval;
use egsde_metrics::registry::paired_metrics;
use serde::Serialize;
use std::collections::BTreeMap;

/// One row less the chosen one.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Name of the row that is compared.
    pub method: String,
    /// Mean difference and its 95 % interval by metric.
    pub metrics: BTreeMap<String, Interval>,
}

/// All differences of an experiment.
#[derive(Debug, Clone, Serialize)]
pub struct Differences {
    /// The row with which the others are compared.
    pub to: String,
    /// Source images per job.
    pub pictures: usize,
    /// The other rows that share finished jobs with it, in the experiment's order.
    pub rows: Vec<Difference>,
}

impl Difference {
    /// The difference of one row; none where the rows have no seeds or fewer than two images in
    /// common.
    fn new(row: &str, base: &str, paired: &PairedRows) -> Result<Option<Self>> {
        let mut metrics = BTreeMap::new();
        for metric in paired_metrics() {
            if let Some(interval) = paired.interval(row, base, metric)? {
                metrics.insert(metric.key.to_string(), interval);
            }
        }
        Ok((!metrics.is_empty()).then(|| Self {
            method: row.into(),
            metrics,
        }))
    }
}

impl Differences {
    /// Differences of everything that is finished to the row that the experiment names in
    /// `compare_to`; none where it names none or that row has no results.
    ///
    /// # Errors
    /// Those of [`PairedRows::interval`].
    pub fn new(experiment: &Experiment, paired: &PairedRows) -> Result<Option<Self>> {
        let Some(to) = &experiment.compare_to else {
            return Ok(None);
        };
        if !paired.has_results(to) {
            return Ok(None);
        }
        let mut rows = Vec::new();
        for row in experiment.methods.iter().filter(|row| row.name != *to) {
            rows.extend(Difference::new(&row.name, to, paired)?);
        }
        Ok(Some(Self {
            to: to.clone(),
            pictures: experiment.pictures,
            rows,
        }))
    }
}
