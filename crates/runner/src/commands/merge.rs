//! `egsde merge FROM... --into RUNS`: puts the finished jobs of several runs folders (shards, other machines) together.

use super::provenance::jobs;
use crate::error::{Problem, UserError};
use crate::store::JobFolder;
use anyhow::Result;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Arguments of `egsde merge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs folders to take from; nothing in them is changed.
    #[arg(required = true)]
    from: Vec<PathBuf>,
    /// Runs folder to put into.
    #[arg(long)]
    into: PathBuf,
}

/// What became of one job.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Copied,
    Same,
    Unfinished,
    Conflict,
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        // Links are not followed, locks not copied.
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &target)?,
            kind if kind.is_file() && entry.file_name() != ".lock" => {
                _ = std::fs::copy(entry.path(), target)?
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes one job over; a half-copied one never stands under its name.
fn take(from: &Path, to: &Path) -> Result<Outcome> {
    let (source, target) = (JobFolder::at(from), JobFolder::at(to));
    if !source.is_finished() {
        return Ok(Outcome::Unfinished);
    }
    if to.exists() {
        if target.is_finished() {
            return Ok(if source.results()? == target.results()? {
                Outcome::Same
            } else {
                Outcome::Conflict
            });
        }
        let Some(_held) = target.hold()? else {
            return Ok(Outcome::Conflict);
        };
        std::fs::remove_dir_all(to)?;
    }
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(".merge-")
        .permissions(std::fs::Permissions::from_mode(0o777));
    let temporary = builder.tempdir_in(to.parent().unwrap_or(Path::new(".")))?;
    copy(from, temporary.path())?;
    std::fs::rename(temporary.keep(), to)?;
    Ok(Outcome::Copied)
}

/// Runs the command; exits with 1 when a job is finished on both sides with different results.
pub fn run(args: &Args) -> Result<()> {
    let (mut copied, mut same, mut unfinished, mut conflicts) = (0, 0, 0, Vec::new());
    for root in &args.from {
        let mut folders = Vec::new();
        jobs(root, &mut folders)?;
        if folders.is_empty() {
            return Err(Problem::user(format!(
                "{} holds no job (no job.json)",
                root.display()
            )));
        }
        folders.sort();
        for from in folders {
            let to = args.into.join(from.strip_prefix(root).unwrap_or(&from));
            std::fs::create_dir_all(to.parent().unwrap_or(&args.into)).user(args.into.display())?;
            match take(&from, &to).user(format!("cannot merge {}", from.display()))? {
                Outcome::Copied => copied += 1,
                Outcome::Same => same += 1,
                Outcome::Unfinished => unfinished += 1,
                Outcome::Conflict => {
                    conflicts.push(format!("{} and {}", from.display(), to.display()))
                }
            }
        }
    }
    println!(
        "{copied} jobs copied, {same} were there, {unfinished} unfinished ones left, {} conflicts",
        conflicts.len()
    );
    if conflicts.is_empty() {
        return Ok(());
    }
    let text = format!(
        "{} jobs have other results on both sides (nothing was overwritten): {}",
        conflicts.len(),
        conflicts.join("; ")
    );
    Err(Problem::No(text).into())
}
