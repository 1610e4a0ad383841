//! Realism against faithfulness: Fréchet distance over L2.

use super::figure::Figure;
use super::scatter::{Scale, Scatter, points};
use crate::analysis::table::Table;
use anyhow::Result;
use egsde_metrics::registry::{FID, L2};
use std::path::Path;

const CAPTION: &str = "Fréchet distance over L2, with one standard deviation over seeds; the line \
                       joins the Pareto front.";

/// Writes the plot with one standard deviation over seeds and the Pareto front; none when there is
/// nothing to draw.
///
/// # Errors
/// A file cannot be drawn or written.
pub fn write_tradeoff(table: &Table, folder: &Path) -> Result<Option<Figure>> {
    let tradeoff = Scatter {
        title: "Realism against faithfulness (line: Pareto front)",
        x_label: "L2 to the source (faithful: left)",
        y_label: "Fréchet distance to the target (realistic: down)",
        scale: Scale::Linear,
        points: points(table, &L2, &FID),
    };
    if tradeoff.points.is_empty() {
        return Ok(None);
    }
    Figure::write(&tradeoff, folder, "tradeoff", CAPTION.into()).map(Some)
}
