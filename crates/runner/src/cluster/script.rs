//! The script that Slurm runs for every task and for collecting, and the options of `sbatch`.

use super::site::Site;
use super::submission::{Submission, SubmissionFolder};
use crate::error::{OrInvalidInput, invalid_input};
use anyhow::Result;
use std::path::Path;

/// A path as a word of the shell.
fn shell_word(path: &Path) -> Result<String> {
    let Some(text) = path.to_str() else {
        return Err(invalid_input(format!("{} is not UTF-8", path.display())));
    };
    Ok(shlex::try_quote(text)
        .or_invalid_input(path.display())?
        .into_owned())
}

/// A path inside an option of sbatch, which replaces what follows a single %.
fn escape_percent(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

/// Options of an array besides its size. `name` is the experiment's.
pub fn task_options(name: &str, folder: &SubmissionFolder, site: &Site) -> Vec<String> {
    let mut options = vec![
        format!("--job-name=egsde {name}"),
        format!("--output={}/%A_%a.log", escape_percent(&folder.logs())),
        "--open-mode=append".into(),
        "--requeue".into(),
        format!("--signal=B:USR1@{}", site.margin()),
    ];
    options.extend(site.options());
    options
}

/// Options of the job that collects, besides what it waits for; it needs no GPU.
pub fn collect_options(name: &str, folder: &SubmissionFolder, site: &Site) -> Vec<String> {
    let partition = site.collect_partition.clone().or(site.partition.clone());
    let site = Site {
        gres: None,
        time: None,
        partition,
        ..site.clone()
    };
    let mut options = vec![
        format!("--job-name=egsde {name} table"),
        format!("--output={}", escape_percent(&folder.collect_log())),
        "--open-mode=append".into(),
        "--requeue".into(),
    ];
    options.extend(site.options());
    options
}

/// The script. Its argument is the task that is index 0 of its array, or `collect`.
///
/// # Errors
/// Invalid input: a path that cannot stand in a shell script.
pub fn script(submission: &Submission, folder: &SubmissionFolder, egsde: &Path) -> Result<String> {
    let egsde = shell_word(egsde)?;
    let (folder, project) = (shell_word(folder.path())?, shell_word(&submission.project)?);
    let threads = match submission.site.cpus_per_task {
        Some(count) => format!("export OMP_NUM_THREADS={count}\n"),
        None => String::new(),
    };
    let prologue: String = submission
        .site
        .prologue
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    Ok(format!(
        r#"#!/bin/bash
# Written by egsde submit. Argument: the task that the array's index 0 is, or "collect".
egsde={egsde}
submission={folder}
project={project}
for needed in "$egsde" "$submission/submission.json" "$project"; do
    if [ ! -r "$needed" ]; then
        echo "egsde: $(uname -n) does not see $needed:" \
            "put the checkout and runs_dir where every node sees them" >&2
        exit 2
    fi
done
cd "$project" || exit 2
{prologue}{threads}export OMP_WAIT_POLICY="${{OMP_WAIT_POLICY:-passive}}"
case "$1" in
    collect) exec "$egsde" slurm-task "$submission" collect ;;
    *) exec "$egsde" slurm-task "$submission" "$(($1 + SLURM_ARRAY_TASK_ID))" ;;
esac
"#
    ))
}
