//! Rows and cells of a table.

use serde::Serialize;
use std::collections::BTreeMap;

/// Mean, sample standard deviation and count over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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
