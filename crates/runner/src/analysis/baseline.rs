//! Stored numbers and whether new ones stay within their tolerance.

use super::table::{Origin, Table};
use crate::csv_file::{csv_text, parse_csv};
use crate::error::{check_failed, invalid_input};
use crate::runtime::machine;
use anyhow::Result;
use egsde_metrics::registry::METRICS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// One stored number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Name of the experiment's row.
    pub method: String,
    /// Key of the metric in the registry.
    pub metric: String,
    /// Mean over the row's seeds, unscaled.
    pub mean: f64,
    /// Largest absolute difference allowed.
    pub tolerance: f64,
    /// Program version and commit that made it.
    pub code: String,
    /// Processor and libtorch it was made with.
    pub machine: String,
}

/// Processor and libtorch of this machine.
fn this_machine() -> String {
    format!("{}, libtorch {}", machine::cpu(), env!("EGSDE_LIBTORCH"))
}

/// Our rows of a table as stored lines; metrics without a tolerance are not held.
pub fn lines(table: &Table) -> Vec<Line> {
    let machine = this_machine();
    let mut lines = Vec::new();
    for row in table.rows.iter().filter(|row| row.source == Origin::Ours) {
        for metric in METRICS {
            let (Some(cell), Some(tolerance)) = (row.metrics.get(metric.key), metric.tolerance)
            else {
                continue;
            };
            lines.push(Line {
                method: row.method.clone(),
                metric: metric.key.into(),
                mean: cell.mean,
                tolerance: cell.mean.abs() * tolerance,
                code: crate::CODE.into(),
                machine: machine.clone(),
            });
        }
    }
    lines
}

/// Reads a baseline file.
///
/// # Errors
/// Invalid input: the file cannot be read, holds no number, or has a line in another format.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let records = parse_csv(&csv_text(path)?, path)?;
    if records.is_empty() {
        return Err(invalid_input(format!(
            "{} holds no stored numbers: --update writes them",
            path.display()
        )));
    }
    Ok(records.into_iter().map(|record| record.fields).collect())
}

/// The CSV text of a baseline file.
///
/// # Errors
/// A line that CSV cannot hold.
pub fn to_csv(lines: &[Line]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.serialize(line)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Lines by method and metric.
fn by_name(lines: &[Line]) -> BTreeMap<(&str, &str), &Line> {
    lines
        .iter()
        .map(|line| ((line.method.as_str(), line.metric.as_str()), line))
        .collect()
}

/// Every number that is gone, new or out of tolerance, one text each.
pub fn departures(new: &[Line], stored: &[Line]) -> Vec<String> {
    let (now, before) = (by_name(new), by_name(stored));
    let mut found = Vec::new();
    for (name, line) in &before {
        let Line {
            method,
            metric,
            mean,
            tolerance,
            ..
        } = line;
        match now.get(name) {
            None => found.push(format!("{method} {metric}: stored {mean}, no number now")),
            Some(got) if got.mean.is_nan() || (got.mean - mean).abs() > *tolerance => {
                found.push(format!(
                    "{method} {metric}: {} now, {mean} stored, tolerance {tolerance:.3e}",
                    got.mean
                ));
            }
            Some(_) => {}
        }
    }
    for (name, line) in now.iter().filter(|(name, _)| !before.contains_key(*name)) {
        found.push(format!(
            "{} {}: {} now, nothing stored",
            name.0, name.1, line.mean
        ));
    }
    found
}

/// Holds new numbers against stored ones.
///
/// # Errors
/// Check failed: every departure, on one line.
pub fn compare(new: &[Line], stored: &[Line]) -> Result<()> {
    let found = departures(new, stored);
    if found.is_empty() {
        return Ok(());
    }
    let text = format!(
        "{} numbers left the baseline: {}",
        found.len(),
        found.join("; ")
    );
    Err(check_failed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(method: &str, mean: f64) -> Line {
        Line {
            method: method.into(),
            metric: "l2".into(),
            mean,
            tolerance: 0.1,
            code: "c".into(),
            machine: "m".into(),
        }
    }

    #[test]
    fn what_left_its_tolerance_is_named() {
        let stored = [line("A", 1.0), line("B", 2.0), line("C", 3.0)];
        assert!(departures(&stored, &stored).is_empty());
        let new = [line("A", 1.2), line("B", f64::NAN), line("D", 1.0)];
        let found = departures(&new, &stored);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("A l2: 1.2 now, 1 stored"));
    }

    #[test]
    fn a_file_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.csv");
        std::fs::write(&path, to_csv(&[line("EGSDE†", 1.5)]).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), [line("EGSDE†", 1.5)]);
    }
}
