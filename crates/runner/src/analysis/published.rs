//! Published numbers as rows of a table.

use super::table_row::{Cell, CellNote, Origin, TableRow, shown_metrics};
use crate::config::paper::Paper;
use crate::config::published::{Provenance, PublishedLine};
use egsde_metrics::registry::Metric;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Published numbers in a table of their own, where those of the experiment do not compare with
/// them.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedTable {
    /// What it holds, in one line.
    pub title: String,
    /// One per method, in the file's order.
    pub rows: Vec<TableRow>,
    /// The metrics that it shows, in the registry's order.
    #[serde(skip)]
    pub columns: Vec<&'static Metric>,
    /// What a reader must know about its numbers.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// The paper's rows, in the file's order.
pub fn published_rows(lines: &[PublishedLine]) -> Vec<TableRow> {
    let mut rows: Vec<TableRow> = Vec::new();
    for line in lines {
        let cell = Cell {
            mean: line.mean,
            std: line.std,
            note: Some(CellNote::Provenance(line.provenance)),
            ..Cell::default()
        };
        match rows.iter_mut().find(|row| row.method == line.method) {
            Some(row) => {
                row.metrics.insert(line.metric.clone(), cell);
            }
            None => rows.push(TableRow {
                method: line.method.clone(),
                source: Origin::Published,
                metrics: BTreeMap::from([(line.metric.clone(), cell)]),
            }),
        }
    }
    rows
}

/// The numbers that are marked as doubtful, by what is doubtful about them.
fn doubts(lines: &[PublishedLine]) -> Vec<String> {
    let doubtful = lines
        .iter()
        .filter(|line| line.provenance == Provenance::Doubtful);
    let reasons: BTreeSet<(&str, &str)> = doubtful
        .map(|line| (line.method.as_str(), line.source.as_str()))
        .collect();
    reasons
        .into_iter()
        .map(|(method, source)| format!("{} {method}: {source}.", Provenance::Doubtful.mark()))
        .collect()
}

/// What the marks of published numbers mean.
pub fn published_notes(lines: &[PublishedLine]) -> Vec<String> {
    let mut notes = vec![
        "Published numbers: 256 px, Inception FID, from results/published.csv; measured by the \
         paper's authors, but * those it quotes from elsewhere and *? those it marks so where that \
         is doubtful."
            .to_string(),
    ];
    notes.extend(doubts(lines));
    notes
}

impl PublishedTable {
    /// The numbers of a paper's table and task.
    pub fn new(paper: &Paper) -> Self {
        let rows = published_rows(&paper.lines);
        Self {
            title: format!(
                "Published: the paper's Table {}, {}",
                paper.table, paper.task
            ),
            columns: shown_metrics(&rows, false),
            rows,
            notes: published_notes(&paper.lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::experiment::Published;
    use crate::project::Project;

    fn cat2dog() -> PublishedTable {
        let published = Published {
            table: "1".into(),
            task: "cat2dog".into(),
        };
        PublishedTable::new(&Paper::read(&Project::of_this_checkout(), "e", &published).unwrap())
    }

    #[test]
    fn every_published_row_of_the_task_is_read() {
        let table = cat2dog();
        assert_eq!(table.rows.len(), 14);
        let dagger = table.rows.last().unwrap();
        let fid = dagger.metrics["fid"];
        assert_eq!(
            (dagger.method.as_str(), fid.mean, fid.std),
            ("EGSDE†", 51.04, Some(0.37))
        );
        let columns: Vec<&str> = table.columns.iter().map(|metric| metric.key).collect();
        assert_eq!(columns, ["fid", "l2", "psnr", "ssim", "amt"]);
    }

    #[test]
    fn doubtful_numbers_come_with_the_reason() {
        let notes = cat2dog().notes;
        assert!(notes[0].contains("* those it quotes"), "{notes:?}");
        assert!(
            notes[1..].iter().all(|note| note.starts_with("*? CUT: ")),
            "{notes:?}"
        );
        assert_eq!(
            notes.len(),
            3,
            "one for its distances, one for its AMT: {notes:?}"
        );
    }
}
