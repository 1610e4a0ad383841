//! A table as files for other programs: Markdown, LaTeX, CSV, Parquet.

use super::export::{csv, latex, markdown};
use super::parquet_table;
use crate::analysis::table::Table;
use anyhow::Result;
use egsde_data::files::write_atomically;
use std::path::Path;

/// Writes all four files; returns their names.
///
/// # Errors
/// A file cannot be written.
pub fn write_tables(table: &Table, folder: &Path) -> Result<Vec<String>> {
    let files = [
        ("table.md", markdown(table).into_bytes()),
        ("table.tex", latex(table).into_bytes()),
        ("table.csv", csv(table)?.into_bytes()),
        ("table.parquet", parquet_table::to_parquet(table)?),
    ];
    for (name, bytes) in &files {
        write_atomically(&folder.join(name), bytes)?;
    }
    Ok(files.iter().map(|(name, _)| (*name).to_string()).collect())
}
