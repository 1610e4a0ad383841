//! Rows and cells of a table.

use crate::config::published::Provenance;
use egsde_metrics::registry::{METRICS, Metric, Visibility};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a number stands with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CellNote {
    /// Who measured a published number.
    Provenance(Provenance),
    /// The machine that a time was measured on, by its place among the table's machines.
    Machine(usize),
}

impl CellNote {
    /// What stands behind the number in a table: nothing where the number is what the column
    /// promises.
    pub fn mark(self) -> String {
        match self {
            Self::Provenance(provenance) => provenance.mark().into(),
            Self::Machine(0) => String::new(),
            Self::Machine(place) => format!(" ({})", machine_letter(place)),
        }
    }
}

/// The letter of a machine by its place among the table's machines: a, b, ...
pub fn machine_letter(place: usize) -> char {
    char::from(b'a' + u8::try_from(place).unwrap_or(u8::MAX).min(25))
}

/// Mean, sample standard deviation and count over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Cell {
    /// Mean over seeds, or the published number, in the metric's stored unit.
    pub mean: f64,
    /// None with one seed, or where the source states none.
    pub std: Option<f64>,
    /// Number of seeds; none of a published number.
    pub n: Option<u32>,
    /// Half the width of the mean's 95 % interval by Student's t.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<f64>,
    /// What a reader must know about the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<CellNote>,
}

/// Where a row's numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Computed from finished jobs of the experiment.
    Ours,
    /// Quoted from `results/published.csv`.
    Published,
}

impl Origin {
    /// As files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Published => "published",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct TableRow {
    /// Heading of the row: its name in the experiment file or in the paper.
    pub method: String,
    /// Tells rows of this experiment from quoted ones.
    pub source: Origin,
    /// By the keys of the metric registry.
    pub metrics: BTreeMap<String, Cell>,
}

/// The metrics that a table of these rows shows, in the registry's order. Those that are shown on
/// request count where `on_request` is set.
pub fn shown_metrics(rows: &[TableRow], on_request: bool) -> Vec<&'static Metric> {
    let mut shown = Vec::new();
    for metric in METRICS {
        let is_wanted = match metric.visibility {
            Visibility::Always => true,
            Visibility::OnRequest => on_request,
            Visibility::FilesOnly => false,
        };
        if is_wanted && rows.iter().any(|row| row.metrics.contains_key(metric.key)) {
            shown.push(metric);
        }
    }
    shown
}
