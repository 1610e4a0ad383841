//! `egsde slurm-task`, which the Slurm script of a submission calls: runs the jobs of one task, or
//! collects the results of all tasks.

use super::output::{Output, TableFormat};
use crate::cluster::hand_over::COLLECT;
use crate::cluster::site::Site;
use crate::cluster::slurm;
use crate::cluster::submission::{Submission, SubmissionFolder};
use crate::error::{Interrupted, OrInvalidInput, invalid_input};
use crate::project::Project;
use crate::run::scheduler::{JobSelection, Resources, Workers, run_plan};
use crate::runtime::console::log;
use crate::runtime::device::open_device;
use crate::runtime::signal::OUT_OF_TIME;
use crate::store::results::Results;
use anyhow::Result;
use backon::{BlockingRetryable, ExponentialBuilder};
use std::path::PathBuf;
use tch::Device;

/// Arguments of `egsde slurm-task`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the submission.
    submission: PathBuf,
    /// Number of the task, or `collect`.
    task: String,
}

/// Writes the report and prints the table, from the results of all tasks.
fn collect(submission: &Submission, project: &Project) -> Result<()> {
    let plan = submission.plan(project)?;
    let results = Results::read(&plan);
    let output = Output::new(&results, project, &submission.experiment)?;
    output.write_report()?;
    output.print_table(TableFormat::Markdown)
}

/// Runs the jobs of one task that are not finished; returns the number of jobs it ran.
fn run_jobs(
    submission: &Submission,
    project: &Project,
    jobs: &[String],
    devices: Vec<Device>,
) -> Result<usize> {
    let plan = submission.plan(project)?;
    let save_every = submission
        .site
        .save_every
        .unwrap_or(plan.experiment.save_every);
    let only = Some(jobs.iter().cloned().collect());
    let selection = JobSelection {
        only,
        ..JobSelection::default()
    };
    let mut results = Results::read(&plan);
    run_plan(
        &mut results,
        project,
        &Resources {
            devices,
            workers: Workers::default(),
            save_every,
        },
        &selection,
    )
}

/// Requeues a task that Slurm's time limit interrupted, so that it goes on from what it has stored.
///
/// # Errors
/// The error itself where something else ended the task, or where the task has been requeued as
/// often as the site allows; the error of `scontrol requeue` where every attempt fails.
fn requeue_if_out_of_time(error: anyhow::Error, site: &Site) -> Result<()> {
    let interrupted = error.downcast_ref::<Interrupted>();
    let is_out_of_time = interrupted.is_some_and(|interrupted| interrupted.code == OUT_OF_TIME);
    let (true, Ok(job)) = (is_out_of_time, std::env::var("SLURM_JOB_ID")) else {
        return Err(error);
    };
    let restarts = std::env::var("SLURM_RESTART_COUNT").unwrap_or_default();
    let restarts: usize = restarts.parse().unwrap_or(0);
    if restarts >= site.most_restarts() {
        let context = format!("not requeued after {restarts} restarts (--most-restarts)");
        return Err(error).or_invalid_input(context);
    }
    // The message precedes the call, since Slurm may end this process before the call returns.
    writeln!(
        log(),
        "{error:#}; back into the queue for the {}. time",
        restarts + 1
    );
    // Slurm's controller may be unreachable for a while, so seven attempts spread over a minute.
    let patience = ExponentialBuilder::default().with_max_times(6);
    (|| slurm::requeue(&job))
        .retry(patience)
        .notify(|error, wait| writeln!(log(), "{error:#}; again in {wait:?}"))
        .call()
}

/// Runs the command.
///
/// # Errors
/// Invalid input: the submission has no such task, a device is not available, or the experiment was
/// changed after the submission. The errors of [`run_plan`].
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let folder = SubmissionFolder::at(&args.submission);
    let submission = folder.submission()?;
    if args.task == COLLECT {
        return collect(&submission, project);
    }
    let jobs = args
        .task
        .parse()
        .ok()
        .and_then(|number: usize| submission.tasks.get(number));
    let Some(jobs) = jobs else {
        let folder = folder.path().display();
        return Err(invalid_input(format!(
            "{folder} has no task {:?}",
            args.task
        )));
    };
    // Every device is opened before any job begins, so that a missing one costs no computation.
    let devices = submission.site.devices().map(open_device);
    let devices = devices
        .collect::<Result<_, String>>()
        .map_err(invalid_input)?;
    match run_jobs(&submission, project, jobs, devices) {
        Ok(ran) => {
            let (task, total) = (&args.task, jobs.len());
            writeln!(
                log(),
                "task {task}: ran {ran} of its {total} jobs, the others were done"
            );
            Ok(())
        }
        Err(error) => requeue_if_out_of_time(error, &submission.site),
    }
}
