//! Job folders under any folder, for commands that need no experiment file.

use crate::error::{OrInvalidInput, invalid_input};
use crate::store::job_dir::JOB_FILE;
use anyhow::Result;
use egsde_data::nearest::offer_path;
use std::path::{Path, PathBuf};

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if folder.join(JOB_FILE).is_file() {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let offer = offer_path(folder);
        invalid_input(format!("cannot read {}: {error}{offer}", folder.display()))
    });
    for entry in entries? {
        let entry = entry.or_invalid_input(folder.display())?;
        // Links are not followed: they may lead in circles.
        if entry
            .file_type()
            .or_invalid_input(folder.display())?
            .is_dir()
        {
            collect(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// The job folders at or under a folder, in name order.
///
/// # Errors
/// Invalid input: there is none, or a folder cannot be read.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(folder, &mut found)?;
    if found.is_empty() {
        return Err(invalid_input(format!(
            "{} holds no job (no {JOB_FILE})",
            folder.display()
        )));
    }
    found.sort();
    Ok(found)
}
