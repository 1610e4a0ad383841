//! A table as files for other programs: Markdown, LaTeX, CSV, Parquet.

use super::export::{Number, csv, latex, markdown, numbers};
use crate::analysis::table::{Cell, Table};
use anyhow::Result;
use egsde_data::files::write_atomically;
use polars::prelude::*;
use std::path::Path;

/// One line per row and metric, with the columns of the CSV.
fn data_frame(table: &Table) -> Result<DataFrame> {
    let numbers = numbers(table);
    let cells: Vec<&Cell> = numbers.iter().map(|Number { cell, .. }| *cell).collect();
    Ok(df!(
        "experiment" => vec![table.experiment.as_str(); numbers.len()],
        "method" => numbers.iter().map(|number| number.row.method.as_str()).collect::<Vec<_>>(),
        "source" => numbers.iter().map(|number| number.row.source.name()).collect::<Vec<_>>(),
        "metric" => numbers.iter().map(|number| number.metric).collect::<Vec<_>>(),
        "mean" => cells.iter().map(|cell| cell.mean).collect::<Vec<_>>(),
        "std" => cells.iter().map(|cell| cell.std).collect::<Vec<_>>(),
        "n" => cells.iter().map(|cell| cell.n).collect::<Vec<_>>(),
        "ci95" => cells.iter().map(|cell| cell.ci95).collect::<Vec<_>>(),
    )?)
}

/// Writes all four files; returns their names.
///
/// # Errors
/// A file cannot be written.
pub fn write_tables(table: &Table, folder: &Path) -> Result<Vec<String>> {
    let mut parquet = Vec::new();
    ParquetWriter::new(&mut parquet).finish(&mut data_frame(table)?)?;
    let files = [
        ("table.md", markdown(table).into_bytes()),
        ("table.tex", latex(table).into_bytes()),
        ("table.csv", csv(table)?.into_bytes()),
        ("table.parquet", parquet),
    ];
    for (name, bytes) in &files {
        write_atomically(&folder.join(name), bytes)?;
    }
    Ok(files.iter().map(|(name, _)| (*name).to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::table::{Origin, TableRow};
    use std::collections::BTreeMap;

    #[test]
    fn parquet_holds_one_line_per_number() {
        let cell = Cell {
            mean: 3.5,
            std: None,
            n: Some(1),
            ci95: None,
        };
        let metrics = BTreeMap::from([("l2".to_string(), cell)]);
        let table = Table {
            experiment: "t".into(),
            rows: vec![TableRow {
                method: "A".into(),
                source: Origin::Ours,
                metrics,
            }],
            differences: None,
            columns: vec![],
            title: "T".into(),
            notes: vec![],
            missing: vec![],
        };
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write_tables(&table, folder.path()).unwrap().len(), 4);
        let file = std::fs::File::open(folder.path().join("table.parquet")).unwrap();
        let back = ParquetReader::new(file).finish().unwrap();
        let means = back.column("mean").unwrap().f64().unwrap();
        assert_eq!((back.height(), means.get(0)), (1, Some(3.5)));
    }
}
