//! What a report was made of, kept beside it: one that would come out the same need not be drawn again.

use crate::plan::Plan;
use crate::store::JobFolder;
use crate::table::Table;
use anyhow::Result;
use egsde_models::files::{read_bounded, sha256_file, sha256_of, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// File name inside a report's folder.
const STAMP: &str = ".made.json";

/// Largest such file.
const MAX_FILE: u64 = 1 << 20;

/// Hash of what a report was made of, and of each file.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    of: String,
    files: BTreeMap<String, String>,
}

/// The program that draws; built anew, it may draw otherwise.
fn program() -> Result<String> {
    let about = std::env::current_exe()?.metadata()?;
    let built = about.modified()?.duration_since(UNIX_EPOCH)?;
    Ok(format!("{} {} {built:?}", crate::CODE, about.len()))
}

/// Everything a report shows or is drawn by. Pictures and published numbers are known by the scores' hashes and the table.
fn of(plan: &Plan, table: &Table) -> Result<String> {
    sha256_of(|to| {
        write!(
            to,
            "{} {:?} {:?} {table:?}",
            program()?,
            plan.spec,
            plan.task
        )?;
        for job in &plan.jobs {
            write!(to, " {} ", job.id)?;
            serde_json::to_writer(&mut *to, &JobFolder::of(&plan.folder, job).scores())?;
        }
        Ok(())
    })
}

/// Keeps what the files of [`super::write()`] in `folder` were made of.
pub fn keep(plan: &Plan, table: &Table, folder: &Path, names: &[String]) -> Result<()> {
    let files = names
        .iter()
        .map(|name| Ok((name.clone(), sha256_file(&folder.join(name))?)))
        .collect::<Result<_>>()?;
    write_atomically(
        &folder.join(STAMP),
        &serde_json::to_vec_pretty(&Stamp {
            of: of(plan, table)?,
            files,
        })?,
    )
}

/// Whether what [`super::write()`] would put into `folder` lies there already.
pub fn is_fresh(plan: &Plan, table: &Table, folder: &Path) -> Result<bool> {
    let Ok(bytes) = read_bounded(&folder.join(STAMP), MAX_FILE) else {
        return Ok(false);
    };
    let Ok(stamp) = serde_json::from_slice::<Stamp>(&bytes) else {
        return Ok(false);
    };
    let whole = |(name, sha256): (&String, &String)| {
        sha256_file(&folder.join(name)).is_ok_and(|found| found == *sha256)
    };
    Ok(stamp.of == of(plan, table)? && stamp.files.iter().all(whole))
}
