//! A hash of what a report was made of, kept beside it, so that a report that would come out the
//! same is not drawn again.

use crate::analysis::table::Table;
use crate::store::results::Results;
use anyhow::Result;
use egsde_data::files::{read_bounded, sha256_file, sha256_stream, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// File name inside a report's folder.
const FINGERPRINT_FILE: &str = ".fingerprint.json";

/// Largest such file.
const MAX_FILE: u64 = 1 << 20;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Fingerprint {
    /// Hash of what the report was made of.
    made_of: String,
    /// SHA-256 of each of its files, by name.
    files: BTreeMap<String, String>,
}

/// The program that draws; another build of it may draw otherwise.
fn program() -> Result<String> {
    let executable = std::env::current_exe()?.metadata()?;
    let built = executable
        .modified()?
        .duration_since(UNIX_EPOCH)?
        .as_nanos();
    Ok(format!("{} {} {built}", crate::CODE, executable.len()))
}

/// Writes everything that a report shows or is drawn by. Images are known by the scores' hashes,
/// published numbers by the table.
fn write_content(results: &Results, table: &Table, to: &mut dyn Write) -> Result<()> {
    let plan = results.plan;
    write!(to, "{}", program()?)?;
    serde_json::to_writer(&mut *to, &(&plan.experiment, &plan.task))?;
    // Experiment files do not give what a sweep gave its rows.
    for row in &plan.experiment.methods {
        serde_json::to_writer(&mut *to, &(&row.varied, &row.base))?;
    }
    let columns: Vec<&str> = table.columns.iter().map(|metric| metric.key).collect();
    serde_json::to_writer(&mut *to, &(table, columns, &table.notes, &table.missing))?;
    for input in &plan.inputs {
        serde_json::to_writer(&mut *to, &(&input.key, &input.sha256))?;
    }
    for finished in results.finished() {
        serde_json::to_writer(&mut *to, &(&finished.job.id, finished.scores))?;
    }
    Ok(())
}

/// Hash of what the report of these results is made of.
fn content_sha256(results: &Results, table: &Table) -> Result<String> {
    sha256_stream(|to| write_content(results, table, to))
}

/// Keeps what the files of [`super::write()`] in `folder` were made of; `names` are these files.
///
/// # Errors
/// A file that cannot be read or written.
pub fn keep(results: &Results, table: &Table, folder: &Path, names: &[String]) -> Result<()> {
    let mut files = BTreeMap::new();
    for name in names {
        files.insert(name.clone(), sha256_file(&folder.join(name))?);
    }
    let fingerprint = Fingerprint {
        made_of: content_sha256(results, table)?,
        files,
    };
    write_atomically(
        &folder.join(FINGERPRINT_FILE),
        &serde_json::to_vec_pretty(&fingerprint)?,
    )
}

fn read(folder: &Path) -> Option<Fingerprint> {
    let bytes = read_bounded(&folder.join(FINGERPRINT_FILE), MAX_FILE).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn is_unchanged(path: &Path, sha256: &str) -> bool {
    sha256_file(path).is_ok_and(|found| found == sha256)
}

/// Whether what [`super::write()`] would put into `folder` lies there already.
///
/// # Errors
/// The running program's file cannot be looked at.
pub fn is_fresh(results: &Results, table: &Table, folder: &Path) -> Result<bool> {
    let Some(kept) = read(folder) else {
        return Ok(false);
    };
    let mut files = kept.files.iter();
    Ok(kept.made_of == content_sha256(results, table)?
        && files.all(|(name, sha256)| is_unchanged(&folder.join(name), sha256)))
}
