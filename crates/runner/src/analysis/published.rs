//! Numbers that the paper published, from `results/published.csv`.

use super::table_row::{Cell, Origin, TableRow};
use crate::error::OrInvalidInput;
use crate::project::Project;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

#[derive(Debug, serde::Deserialize)]
struct PublishedLine {
    table: String,
    task: String,
    method: String,
    metric: String,
    mean: f64,
    std: Option<f64>,
    #[serde(rename = "source")]
    _source: String,
}

/// Rows of one table and task, in the file's order.
///
/// # Errors
/// Invalid input: the file is missing or has a line in another format.
pub fn published_rows(project: &Project, table: &str, task: &str) -> Result<Vec<TableRow>> {
    let path = project.published_numbers();
    let reader = csv::Reader::from_path(&path);
    let mut reader = reader.or_invalid_input(format!("cannot read {}", path.display()))?;
    let mut rows: Vec<TableRow> = Vec::new();
    for line in reader.deserialize() {
        let line: PublishedLine = line.or_invalid_input(path.display())?;
        if line.table != table || line.task != task {
            continue;
        }
        if rows.last().is_none_or(|row| row.method != line.method) {
            rows.push(TableRow {
                method: line.method.clone(),
                source: Origin::Published,
                metrics: BTreeMap::new(),
            });
        }
        let row = rows.last_mut().context("a row was just pushed")?;
        row.metrics.insert(
            line.metric,
            Cell {
                mean: line.mean,
                std: line.std,
                n: None,
                ci95: None,
            },
        );
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_row_of_the_task_is_read() {
        let rows = published_rows(&Project::of_this_checkout(), "1", "cat2dog").unwrap();
        assert_eq!(rows.len(), 14);
        let dagger = rows.last().unwrap();
        let fid = dagger.metrics["fid"];
        assert_eq!(
            (dagger.method.as_str(), fid.mean, fid.std),
            ("EGSDE†", 51.04, Some(0.37))
        );
    }
}
