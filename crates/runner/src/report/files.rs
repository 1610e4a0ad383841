//! The table for other programs: Markdown, LaTeX, CSV, Parquet.

use crate::render;
use crate::table::Table;
use anyhow::Result;
use egsde_models::files::write_atomically;
use polars::prelude::*;
use std::path::Path;

/// One line a row and metric.
fn frame(table: &Table) -> Result<DataFrame> {
    let lines: Vec<_> = table
        .rows
        .iter()
        .flat_map(|row| {
            row.metrics
                .iter()
                .map(move |(metric, cell)| (row, metric, cell))
        })
        .collect();
    Ok(df!(
        "experiment" => lines.iter().map(|_| table.experiment.as_str()).collect::<Vec<_>>(),
        "method" => lines.iter().map(|(row, _, _)| row.method.as_str()).collect::<Vec<_>>(),
        "source" => lines.iter().map(|(row, _, _)| row.source.name()).collect::<Vec<_>>(),
        "metric" => lines.iter().map(|(_, metric, _)| metric.as_str()).collect::<Vec<_>>(),
        "mean" => lines.iter().map(|(_, _, c)| c.mean).collect::<Vec<_>>(),
        "std" => lines.iter().map(|(_, _, c)| c.std).collect::<Vec<_>>(),
        "n" => lines.iter().map(|(_, _, c)| c.n).collect::<Vec<_>>(),
        "ci95" => lines.iter().map(|(_, _, c)| c.ci95).collect::<Vec<_>>(),
    )?)
}

/// Writes all four; returns their names.
pub fn tables(table: &Table, folder: &Path) -> Result<Vec<String>> {
    let mut parquet = Vec::new();
    ParquetWriter::new(&mut parquet).finish(&mut frame(table)?)?;
    let files = [
        ("table.md", render::markdown(table).into_bytes()),
        ("table.tex", render::latex(table).into_bytes()),
        ("table.csv", render::csv(table)?.into_bytes()),
        ("table.parquet", parquet),
    ];
    files
        .iter()
        .try_for_each(|(name, bytes)| write_atomically(&folder.join(name), bytes))?;
    Ok(files.iter().map(|(name, _)| (*name).to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Cell, Origin, TableRow};
    use std::collections::BTreeMap;

    #[test]
    fn parquet_holds_a_line_a_number() {
        let cell = Cell {
            mean: 3.5,
            std: None,
            n: Some(1),
            ci95: None,
        };
        let row = TableRow {
            method: "A".into(),
            source: Origin::Ours,
            metrics: BTreeMap::from([("l2".to_string(), cell)]),
        };
        let table = Table {
            experiment: "t".into(),
            rows: vec![row],
            differences: None,
            columns: vec![],
            title: "T".into(),
            notes: vec![],
            missing: vec![],
        };
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(tables(&table, folder.path()).unwrap().len(), 4);
        let file = std::fs::File::open(folder.path().join("table.parquet")).unwrap();
        let back = ParquetReader::new(file).finish().unwrap();
        assert_eq!(
            (
                back.height(),
                back.column("mean").unwrap().f64().unwrap().get(0)
            ),
            (1, Some(3.5))
        );
    }
}
