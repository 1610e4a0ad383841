//! A table as files for other programs: Markdown, LaTeX, CSV, Parquet.

use super::export::{NumberTable, csv};
use super::latex::latex;
use super::markdown::markdown;
use super::parquet_table::to_parquet;
use crate::analysis::table::Table;
use anyhow::Result;
use egsde_data::files::write_atomically;
use std::path::Path;

/// What lies in a file of this name.
type File = (&'static str, Vec<u8>);

/// The names of the files that hold published numbers of another protocol.
const PUBLISHED_FILES: [&str; 2] = ["published.csv", "published.parquet"];

/// The numbers of `table` for programs, in files of these names.
fn number_files(table: &NumberTable, names: [&'static str; 2]) -> Result<[File; 2]> {
    let [csv_name, parquet_name] = names;
    let csv = csv(table)?.into_bytes();
    Ok([(csv_name, csv), (parquet_name, to_parquet(table)?)])
}

/// Writes all files; returns their names. Published numbers that ours do not compare with have
/// files of their own.
///
/// # Errors
/// A file cannot be written.
pub fn write_tables(table: &Table, folder: &Path) -> Result<Vec<String>> {
    let mut files = vec![
        ("table.md", markdown(table).into_bytes()),
        ("table.tex", latex(table).into_bytes()),
    ];
    let ours = NumberTable {
        experiment: &table.experiment,
        rows: &table.rows,
        machines: &table.machines,
    };
    files.extend(number_files(&ours, ["table.csv", "table.parquet"])?);
    if let Some(published) = &table.published {
        let rows = published.rows.as_slice();
        files.extend(number_files(
            &NumberTable { rows, ..ours },
            PUBLISHED_FILES,
        )?);
    }
    for (name, bytes) in &files {
        write_atomically(&folder.join(name), bytes)?;
    }
    Ok(files.iter().map(|(name, _)| (*name).to_string()).collect())
}
