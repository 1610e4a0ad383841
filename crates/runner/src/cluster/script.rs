//! The script that Slurm runs for every task, and for collecting.

use super::site::Site;
use super::submission::{Folder, Submission};
use crate::error::{Problem, UserError};
use anyhow::Result;
use std::path::Path;

/// A path as a word of the shell.
fn word(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .ok_or_else(|| Problem::user(format!("{} is not UTF-8", path.display())))?;
    Ok(shlex::try_quote(text).user(path.display())?.into_owned())
}

/// A path inside an option of sbatch, where % stands for something.
fn option(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

/// Options of the array besides its size.
pub fn task_options(name: &str, folder: &Folder, site: &Site) -> Vec<String> {
    let log = format!("{}/%A_%a.log", option(&folder.0.join("logs")));
    let own = [
        format!("--job-name=egsde {name}"),
        format!("--output={log}"),
        "--open-mode=append".into(),
        "--requeue".into(),
        format!("--signal=B:USR1@{}", site.margin()),
    ];
    own.into_iter().chain(site.options()).collect()
}

/// Options of the job that collects, besides what it waits for; it needs no GPU.
pub fn collect_options(name: &str, folder: &Folder, site: &Site) -> Vec<String> {
    let partition = site.collect_partition.clone().or(site.partition.clone());
    let site = Site {
        gres: None,
        time: None,
        partition,
        ..site.clone()
    };
    let own = [
        format!("--job-name=egsde {name} table"),
        format!("--output={}", option(&folder.collect_log())),
        "--open-mode=append".into(),
        "--requeue".into(),
    ];
    own.into_iter().chain(site.options()).collect()
}

/// The script. Its argument is the task its array's index 0 is, or `collect`.
pub fn script(submission: &Submission, folder: &Folder, egsde: &Path) -> Result<String> {
    let (egsde, folder, root) = (word(egsde)?, word(&folder.0)?, word(&submission.root)?);
    let threads = submission
        .site
        .cpus_per_task
        .map(|n| format!("export OMP_NUM_THREADS={n}\n"))
        .unwrap_or_default();
    let prologue: String = submission
        .site
        .prologue
        .iter()
        .map(|l| format!("{l}\n"))
        .collect();
    Ok(format!(
        r#"#!/bin/bash
# Written by egsde submit. Argument: the task that the array's index 0 is, or "collect".
egsde={egsde}
submission={folder}
root={root}
for needed in "$egsde" "$submission/submission.json" "$root"; do
    if [ ! -r "$needed" ]; then
        echo "egsde: $(uname -n) does not see $needed: put the checkout and runs_dir where every node sees them" >&2
        exit 2
    fi
done
cd "$root" || exit 2
{prologue}{threads}export OMP_WAIT_POLICY="${{OMP_WAIT_POLICY:-passive}}"
case "$1" in
    collect) exec "$egsde" task "$submission" collect ;;
    *) exec "$egsde" task "$submission" "$(($1 + SLURM_ARRAY_TASK_ID))" ;;
esac
"#
    ))
}
