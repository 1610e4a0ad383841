//! `egsde cancel`: a submitted experiment's tasks taken out of Slurm's queue.

use crate::cluster::slurm::{self, Queue};
use crate::cluster::status;
use crate::cluster::submission::SubmissionFolder;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::runtime::console::log;
use crate::store::results::Results;
use anyhow::Result;
use std::collections::HashSet;

/// Arguments of `egsde cancel`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

/// Runs the command.
///
/// # Errors
/// Invalid input: Slurm refuses, or a submission's file was changed.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.plan(project)?;
    let queue = Queue::query()?;
    let results = Results::read(&plan);
    let unfinished: HashSet<&str> = results.missing().into_iter().collect();
    let statuses = status::read_all(&plan, &unfinished, &queue)?;
    let underway: usize = statuses.iter().map(|status| status.underway.len()).sum();
    let mut jobs = Vec::new();
    for folder in SubmissionFolder::list(&plan) {
        jobs.extend(folder.numbers().active(&queue));
    }
    if !jobs.is_empty() {
        slurm::cancel(&jobs)?;
    }
    writeln!(
        log(),
        "{}: cancelled {} of Slurm's jobs with {underway} unfinished jobs; what is done stays",
        plan.experiment.name,
        jobs.len()
    );
    Ok(())
}
