//! `egsde merge`: the finished jobs of several runs folders (shards, other machines) put together.

use super::job_folders;
use crate::error::{OrInvalidInput, check_failed};
use crate::paths::path_parser;
use crate::runtime::console::stdout;
use crate::store::job_dir::JobDir;
use anyhow::Result;
use egsde_data::files::make_writable_folder;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Arguments of `egsde merge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs folders to take from; nothing in them is changed.
    #[arg(required = true, value_parser = path_parser())]
    from: Vec<PathBuf>,
    /// Runs folder to put into.
    #[arg(long, value_parser = path_parser())]
    into: PathBuf,
}

/// What became of one job.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Copied,
    /// It is finished on both sides, with equal results.
    Same,
    Unfinished,
    /// It is finished on both sides with different results, or another process works on it.
    Conflict,
}

/// Copies a folder; links are not followed and locks are not copied.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() && entry.file_name() != ".lock" {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Copies one job; a half-copied one never stands under its name.
fn merge_job(from: &Path, to: &Path) -> Result<Outcome> {
    let (source, target) = (JobDir::at(from), JobDir::at(to));
    if !source.problems().is_empty() {
        return Ok(Outcome::Unfinished);
    }
    if to.exists() {
        if target.problems().is_empty() {
            let is_same = source.results()? == target.results()?;
            return Ok(if is_same {
                Outcome::Same
            } else {
                Outcome::Conflict
            });
        }
        let Some(_lock) = target.try_lock()? else {
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

/// How many jobs had which outcome.
#[derive(Debug, Default)]
struct Counts {
    copied: usize,
    same: usize,
    unfinished: usize,
    /// The folders of each conflict.
    conflicts: Vec<String>,
}

/// Copies the jobs of one runs folder.
fn merge_folder(runs: &Path, into: &Path, counts: &mut Counts) -> Result<()> {
    for from in job_folders::find(runs)? {
        let to = into.join(from.strip_prefix(runs).unwrap_or(&from));
        let parent = to.parent().unwrap_or(into);
        make_writable_folder(parent).or_invalid_input("--into")?;
        let outcome = merge_job(&from, &to);
        match outcome.or_invalid_input(format!("cannot merge {}", from.display()))? {
            Outcome::Copied => counts.copied += 1,
            Outcome::Same => counts.same += 1,
            Outcome::Unfinished => counts.unfinished += 1,
            Outcome::Conflict => {
                counts
                    .conflicts
                    .push(format!("{} and {}", from.display(), to.display()));
            }
        }
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Check failed: jobs with different results on both sides (by name). Invalid input: a folder
/// without jobs, or one that cannot be read or written.
pub fn run(args: &Args) -> Result<()> {
    let mut counts = Counts::default();
    for runs in &args.from {
        merge_folder(runs, &args.into, &mut counts)?;
    }
    let Counts {
        copied,
        same,
        unfinished,
        conflicts,
    } = counts;
    writeln!(
        stdout(),
        "{copied} jobs copied, {same} were there, {unfinished} unfinished ones left, {} conflicts",
        conflicts.len()
    )?;
    match conflicts.len() {
        0 => Ok(()),
        count => Err(check_failed(format!(
            "{count} jobs have other results on both sides (nothing was overwritten): {}",
            conflicts.join("; ")
        ))),
    }
}
