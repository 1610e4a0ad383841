//! The numbers of a table for programs: one line each, as CSV.

use crate::analysis::table::{Cell, CellNote, TableRow};
use anyhow::Result;

/// Rows of one origin or of both, as files for programs hold them.
#[derive(Debug, Clone, Copy)]
pub struct NumberTable<'a> {
    /// Name of the experiment.
    pub experiment: &'a str,
    /// The rows.
    pub rows: &'a [TableRow],
    /// The machines that times were measured on.
    pub machines: &'a [String],
}

/// One number of a table.
pub struct Number<'a> {
    /// The row in which it stands.
    pub row: &'a TableRow,
    /// Key of its metric.
    pub metric: &'a str,
    /// Mean and spread.
    pub cell: &'a Cell,
    /// Who measured a published number, or on which machine a time was measured.
    pub note: Option<&'a str>,
}

impl<'a> NumberTable<'a> {
    fn note(&self, cell: &Cell) -> Option<&'a str> {
        match cell.note? {
            CellNote::Provenance(provenance) => Some(provenance.name()),
            CellNote::Machine(place) => self.machines.get(place).map(String::as_str),
        }
    }

    /// All numbers, row by row.
    pub fn numbers(&self) -> Vec<Number<'a>> {
        let mut numbers = Vec::new();
        for row in self.rows {
            for (metric, cell) in &row.metrics {
                numbers.push(Number {
                    row,
                    metric,
                    cell,
                    note: self.note(cell),
                });
            }
        }
        numbers
    }
}

/// The text of a value, empty where there is none.
fn text_or_empty<T: ToString>(value: Option<T>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// One line per row and metric.
///
/// # Errors
/// None in practice: the text is written into memory.
pub fn csv(table: &NumberTable) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "experiment",
        "method",
        "source",
        "metric",
        "mean",
        "std",
        "n",
        "ci95",
        "note",
    ])?;
    for Number {
        row,
        metric,
        cell,
        note,
    } in table.numbers()
    {
        writer.write_record([
            table.experiment,
            &row.method,
            row.source.name(),
            metric,
            &cell.mean.to_string(),
            &text_or_empty(cell.std),
            &text_or_empty(cell.n),
            &text_or_empty(cell.ci95),
            note.unwrap_or_default(),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
pub(super) mod testing {
    use crate::analysis::claims::{Test, TestedClaim, TwoValues, Verdict};
    use crate::analysis::table::{Cell, CellNote, Origin, Table, TableRow};
    use crate::config::claims::Comparison;
    use crate::config::published::Provenance;
    use egsde_metrics::intervals::Interval;
    use egsde_metrics::registry::FID;
    use std::collections::BTreeMap;

    fn row(method: &str, source: Origin, fid: f64) -> TableRow {
        let is_published = source == Origin::Published;
        let cell = Cell {
            mean: fid,
            std: Some(0.5),
            n: (!is_published).then_some(3),
            ci95: None,
            note: is_published.then_some(CellNote::Provenance(Provenance::Doubtful)),
        };
        TableRow {
            method: method.into(),
            source,
            metrics: BTreeMap::from([(FID.key.to_string(), cell)]),
        }
    }

    fn test(than: &str, difference: Option<Interval>) -> Test {
        let is_testable = difference.is_some();
        Test {
            row: "EGSDE†".into(),
            metric: &FID,
            is: Comparison::Lower,
            than: than.into(),
            paper: None,
            ours: is_testable.then_some(TwoValues {
                row: 3.0,
                than: 4.0,
            }),
            difference,
            verdict: match is_testable {
                true => Verdict::Undecided,
                false => Verdict::NotTestable,
            },
            reason: (!is_testable).then(|| format!("no row {than}")),
        }
    }

    /// One published row, two of ours, and a claim of two comparisons.
    pub fn table() -> Table {
        let interval = Interval {
            estimate: -1.0,
            low: -2.0,
            high: 0.5,
        };
        let claim = TestedClaim {
            name: "a-claim".into(),
            claim: "A claim".into(),
            source: "S".into(),
            verdict: Verdict::Undecided,
            tests: vec![test("SDEdit", Some(interval)), test("ILVR", None)],
        };
        Table {
            experiment: "t".into(),
            rows: vec![
                row("CUT_50%", Origin::Published, 1.0),
                row("SDEdit", Origin::Ours, 4.0),
                row("EGSDE†", Origin::Ours, 3.0),
            ],
            published: None,
            differences: None,
            claims: vec![claim],
            pictures: 4,
            machines: vec!["M".into()],
            columns: vec![&FID],
            title: "T".into(),
            notes: vec!["N.".into()],
            missing: vec!["x".into()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_has_one_line_per_number() {
        let mut table = testing::table();
        let cell = table.rows[2].metrics.get_mut("fid").unwrap();
        cell.note = Some(CellNote::Machine(0));
        let text = csv(&NumberTable {
            experiment: &table.experiment,
            rows: &table.rows,
            machines: &table.machines,
        });
        let text = text.unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "t,CUT_50%,published,fid,1,0.5,,,doubtful");
        assert_eq!(lines[3], "t,EGSDE†,ours,fid,3,0.5,3,,M");
    }
}
