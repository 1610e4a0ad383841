//! `egsde submit`: an experiment's unfinished jobs on a cluster.

use crate::cluster::hand_over::HandOver;
use crate::cluster::site::Site;
use crate::cluster::slurm::{Limits, Queue};
use crate::cluster::status;
use crate::cluster::submission::{JobNumbers, Submission, SubmissionFolder, plan_sha256};
use crate::cluster::tasks::{CostedJob, divide, task_count};
use crate::error::invalid_input;
use crate::inputs::manifest::Input;
use crate::plan::Plan;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::runtime::console::{log, stdout};
use crate::runtime::device::gpu_index;
use crate::store::results::Results;
use anyhow::{Context, Result};
use std::collections::HashSet;
use std::path::PathBuf;

/// Arguments of `egsde submit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Where to.
    #[arg(long, value_enum, default_value_t = Scheduler::Slurm)]
    to: Scheduler,
    /// A site's settings, configs/clusters/NAME.yaml; options given here overrule them.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Print what would be submitted, write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    options: Site,
}

/// What runs jobs on a cluster.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Scheduler {
    Slurm,
}

/// What Slurm takes and holds.
struct SlurmState {
    limits: Limits,
    queue: Queue,
}

impl SlurmState {
    /// Asks Slurm; a preview needs no cluster.
    fn query(dry_run: bool) -> Result<Self> {
        match (Limits::query(), Queue::query()) {
            (Ok(limits), Ok(queue)) => Ok(Self { limits, queue }),
            _ if dry_run => Ok(Self {
                limits: Limits::DEFAULT,
                queue: Queue::default(),
            }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

/// The settings of the site and of the command line, checked.
fn read_site(args: &Args, project: &Project) -> Result<Site> {
    let file = match &args.site {
        Some(name) => Site::read(project, name)?,
        None => Site::default(),
    };
    let site = args.options.clone().overruling(file);
    site.check()?;
    for name in site.devices() {
        gpu_index(name).map_err(invalid_input)?;
    }
    Ok(site)
}

/// Refuses a plan whose inputs are not there or that could not be run: every task would fail.
fn check_inputs(plan: &Plan, project: &Project) -> Result<()> {
    plan.check(project)?;
    let missing = plan.inputs.iter().find(|input| !input.exists());
    let missing = missing.map(Input::instructions);
    match missing.or_else(|| plan.missing_files(project).into_iter().next()) {
        Some(missing) => Err(invalid_input(format!("missing: {missing}"))),
        None => Ok(()),
    }
}

/// Jobs without a result that no task in the queue will do.
fn jobs_to_submit<'a>(results: &Results<'a>, underway: &HashSet<String>) -> Vec<CostedJob<'a>> {
    let plan = results.plan;
    let mut jobs = Vec::new();
    for (place, job) in plan.jobs.iter().enumerate() {
        if results.scores(place).is_none() && !underway.contains(&job.id) {
            let evaluations = plan.experiment.pictures * job.evaluations().max(1);
            jobs.push(CostedJob { job, evaluations });
        }
    }
    jobs
}

fn submit_to_slurm(args: &Args, project: &Project) -> Result<()> {
    let site = read_site(args, project)?;
    let plan = args.experiment.pinned_plan(project)?;
    check_inputs(&plan, project)?;
    let SlurmState { limits, queue } = SlurmState::query(args.dry_run)?;
    let results = Results::read(&plan);
    let unfinished: HashSet<&str> = results.missing().into_iter().collect();
    let statuses = status::read_all(&plan, &unfinished, &queue)?;
    let underway: HashSet<String> = statuses
        .into_iter()
        .flat_map(|status| status.underway)
        .collect();
    let jobs = jobs_to_submit(&results, &underway);
    let name = &plan.experiment.name;
    if jobs.is_empty() {
        let count = underway.len();
        writeln!(
            log(),
            "{name}: nothing to submit, {count} jobs are in the queue, the others done \
             (egsde status)"
        );
        return Ok(());
    }
    let tasks = task_count(&site, jobs.len() * plan.experiment.pictures, limits)?;
    let submission = Submission {
        experiment: args.experiment.from_project_folder(project)?,
        project: project.root().into(),
        plan_sha256: plan_sha256(&plan),
        site,
        tasks: divide(&jobs, tasks),
    };
    let egsde = &launcher()?;
    if args.dry_run {
        let folder = &SubmissionFolder::placeholder(&plan)?;
        let hand_over = HandOver {
            name,
            submission: &submission,
            folder,
            limits,
            egsde,
        };
        write!(stdout(), "{}", hand_over.preview()?)?;
        return Ok(());
    }
    let folder = &SubmissionFolder::create(&plan)?;
    let hand_over = HandOver {
        name,
        submission: &submission,
        folder,
        limits,
        egsde,
    };
    let numbers = hand_over.submit()?;
    report_submission(&hand_over, jobs.len(), &numbers, &args.experiment.words());
    Ok(())
}

/// The program that tasks start: the one beside this one that tells what is missing on a node.
fn launcher() -> Result<PathBuf> {
    let engine = std::env::current_exe().context("cannot tell where this program lies")?;
    let launcher = engine.with_file_name("egsde");
    Ok(if launcher.is_file() { launcher } else { engine })
}

/// One line on what was submitted.
fn report_submission(hand_over: &HandOver, jobs: usize, numbers: &JobNumbers, words: &str) {
    let HandOver {
        name,
        submission,
        folder,
        ..
    } = hand_over;
    let arrays: Vec<String> = numbers
        .arrays
        .iter()
        .map(|array| array.job.to_string())
        .collect();
    writeln!(
        log(),
        "{name}: submitted {jobs} jobs as {} tasks of {} (array {}), collected by {}; \
         egsde status {}",
        submission.tasks.len(),
        folder.path().display(),
        arrays.join(", "),
        numbers.collect.unwrap_or_default(),
        words
    );
}

/// Runs the command.
///
/// # Errors
/// Invalid input: settings that cannot be, missing inputs, or a refusal of the scheduler.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    match args.to {
        Scheduler::Slurm => submit_to_slurm(args, project),
    }
}
