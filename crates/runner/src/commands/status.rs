//! `egsde status`: what has become of a submitted experiment.

use crate::cluster::slurm::Queue;
use crate::cluster::status::{self, Status};
use crate::cluster::submission::SubmissionFolder;
use crate::error::check_failed;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::store::results::Results;
use anyhow::Result;
use std::collections::HashSet;
use std::path::Path;

/// Arguments of `egsde status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

/// The last line of a log that is not blank, `nothing` for an empty log, or why there is no log.
fn last_line(log: &Path) -> String {
    let Ok(bytes) = std::fs::read(log) else {
        return "there is no log: it never began, or its node does not see this folder".into();
    };
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("nothing")
        .to_string()
}

fn print_status(status: &Status) -> Result<()> {
    let states: Vec<String> = status
        .states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    writeln!(
        stdout(),
        "submission {}: {} tasks: {}; collecting: {}",
        status.number,
        status.tasks,
        states.join(", "),
        status.collect
    )?;
    for failed in &status.failed {
        writeln!(
            stdout(),
            "  task {} ({}) {}, {} of its jobs unfinished, log {}: {}",
            failed.task,
            failed.name,
            failed.state,
            failed.unfinished,
            failed.log.display(),
            last_line(&failed.log)
        )?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Check failed: tasks ended without all of their results. Invalid input: no valid plan, no
/// `squeue`, or a submission that was changed.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.plan(project)?;
    let words = args.experiment.words();
    let results = Results::read(&plan);
    let unfinished: HashSet<&str> = results.missing().into_iter().collect();
    let (name, total) = (&plan.experiment.name, plan.jobs.len());
    writeln!(stdout(), "{name}: {} of {total} jobs done", results.count())?;
    if SubmissionFolder::list(&plan).is_empty() {
        writeln!(stdout(), "never submitted: egsde submit {words}")?;
        return Ok(());
    }
    let statuses = status::read_all(&plan, &unfinished, &Queue::query()?)?;
    for status in &statuses {
        print_status(status)?;
    }
    match statuses
        .iter()
        .map(|status| status.failed.len())
        .sum::<usize>()
    {
        0 => Ok(()),
        count => Err(check_failed(format!(
            "{count} tasks ended without all of their results: egsde submit {words} takes them up"
        ))),
    }
}
