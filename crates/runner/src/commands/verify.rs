//! `egsde verify`: whether everything in a results folder is what was written.

use super::job_folders;
use crate::error::check_failed;
use crate::paths::path_parser;
use crate::runtime::console::stdout;
use crate::store::checksums::CHECKSUMS_FILE;
use crate::store::job_dir::JobDir;
use anyhow::Result;
use std::path::PathBuf;

/// Arguments of `egsde verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A job's folder, an experiment's, or any folder above; copied elsewhere will do.
    #[arg(value_parser = path_parser())]
    folder: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Check failed: jobs that are not what was written (by name). Invalid input: no job at all.
pub fn run(args: &Args) -> Result<()> {
    let folders = job_folders::find(&args.folder)?;
    let mut changed = Vec::new();
    for path in &folders {
        let problems = JobDir::at(path).problems();
        let path = path.display().to_string();
        if problems.is_empty() {
            writeln!(stdout(), "{path}: ok")?;
        } else {
            writeln!(stdout(), "{path}: {}", problems.join("; "))?;
            changed.push(path);
        }
    }
    match changed.len() {
        0 => Ok(()),
        count => Err(check_failed(format!(
            "{count} of {} jobs are not what was written ({CHECKSUMS_FILE}): {}",
            folders.len(),
            changed.join(", ")
        ))),
    }
}
