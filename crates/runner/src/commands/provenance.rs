//! `egsde verify DIR` and `egsde explain EXPERIMENT ROW`: whether results are what was written, and where they come from.

use crate::error::{Problem, UserError};
use crate::ledger::LEDGER;
use crate::store::JobFolder;
use crate::which::Which;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Arguments of `egsde verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// A job's folder, an experiment's, or any folder above; copied elsewhere will do.
    folder: PathBuf,
}

/// Arguments of `egsde explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    which: Which,
    /// Name of a row of the table.
    #[arg(long)]
    row: String,
}

/// Job folders at or under a folder.
pub(super) fn jobs(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if folder.join("job.json").is_file() {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).user(format!("cannot read {}", folder.display()))? {
        let entry = entry.user(folder.display())?;
        // Not through links: they may lead in circles.
        if entry.file_type().user(folder.display())?.is_dir() {
            jobs(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// `egsde verify`: exits with 1 when a job is not what was written, naming it.
pub fn verify(args: &VerifyArgs) -> Result<()> {
    let mut folders = Vec::new();
    jobs(&args.folder, &mut folders)?;
    folders.sort();
    if folders.is_empty() {
        return Err(Problem::user(format!(
            "{} holds no job (no job.json)",
            args.folder.display()
        )));
    }
    let mut bad = Vec::new();
    for path in &folders {
        let problems = JobFolder::at(path).problems();
        let state = if problems.is_empty() {
            "ok".to_string()
        } else {
            problems.join("; ")
        };
        println!("{}: {state}", path.display());
        if !problems.is_empty() {
            bad.push(path.display().to_string());
        }
    }
    match bad.len() {
        0 => Ok(()),
        n => Err(Problem::No(format!(
            "{n} of {} jobs are not what was written ({LEDGER}): {}",
            folders.len(),
            bad.join(", ")
        ))
        .into()),
    }
}

/// `egsde explain`: every job of a row, whole.
pub fn explain(args: &ExplainArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let jobs = plan.jobs_of(&args.row)?;
    println!("experiment: {} ({})", plan.spec.name, plan.spec.title);
    for job in jobs {
        let folder = JobFolder::of(&plan.folder, job);
        println!("---\njob: {}", plan.folder.join(&job.id).display());
        print!("{}", serde_yaml::to_string(&job.identity)?);
        match folder.scores() {
            Some(scores) => print!("{}", serde_yaml::to_string(&scores)?),
            None => println!("scores: not finished"),
        }
    }
    Ok(())
}
