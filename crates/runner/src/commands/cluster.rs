//! `egsde submit | status | cancel EXPERIMENT`, and what the cluster's tasks run.

use super::experiment::{print_table, write_report};
use crate::cluster::script::{collect_options, script, task_options};
use crate::cluster::site::Site;
use crate::cluster::slurm::{self, Limits, Queue};
use crate::cluster::status::{self, Status};
use crate::cluster::submission::{
    Array, Folder, Numbers, Submission, divide, plan_sha256, task_count,
};
use crate::device;
use crate::error::{Problem, UserError};
use crate::interrupt::OUT_OF_TIME;
use crate::plan::{Job, Plan};
use crate::store::JobFolder;
use crate::table::Table;
use crate::which::Which;
use crate::workers::{Part, Resources, execute};
use anyhow::{Context, Result};
use backon::{BlockingRetryable, ExponentialBuilder};
use egsde_models::files::write_atomically;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Arguments of `egsde submit`.
#[derive(Debug, clap::Args)]
pub struct SubmitArgs {
    #[command(flatten)]
    which: Which,
    /// Where to.
    #[arg(long, default_value = "slurm", value_parser = ["slurm"])]
    to: String,
    /// A site's settings, clusters/NAME.yaml; options given here overrule them.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Print what would be submitted, write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    options: Site,
}

/// Arguments of `egsde status` and `egsde cancel`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    which: Which,
}

/// Arguments of `egsde task`.
#[derive(Debug, clap::Args)]
pub struct TaskArgs {
    /// Folder of the submission.
    submission: PathBuf,
    /// Number of the task, or `collect`.
    task: String,
}

/// Jobs still to be done that no task in the queue will do, and what each costs.
fn to_submit<'a>(plan: &'a Plan, underway: &HashSet<String>) -> Vec<(&'a Job, usize)> {
    let open = plan
        .jobs
        .iter()
        .filter(|j| !underway.contains(&j.id) && JobFolder::of(&plan.folder, j).scores().is_none());
    open.map(|j| {
        (
            j,
            plan.spec.pictures * j.identity.settings.evaluations().diffusion.max(1),
        )
    })
    .collect()
}

/// Every task would fail for want of these.
fn check_inputs(plan: &Plan) -> Result<()> {
    match plan.inputs.iter().find(|i| !i.exists()) {
        Some(missing) => Err(Problem::user(format!(
            "missing: {}",
            missing.instructions()
        ))),
        None => Ok(()),
    }
}

/// The options of each array: as many tasks as Slurm takes in one, and its share of what may run at once.
fn arrays(tasks: usize, site: &Site, limits: Limits) -> Vec<(usize, usize, String)> {
    let starts: Vec<usize> = (0..tasks).step_by(limits.array.max(1)).collect();
    let share = site
        .max_parallel
        .map(|n| format!("%{}", (n / starts.len().max(1)).max(1)))
        .unwrap_or_default();
    let size = |first: usize| (tasks - first).min(limits.array.max(1));
    starts
        .iter()
        .map(|first| {
            (
                *first,
                size(*first),
                format!("--array=0-{}{share}", size(*first) - 1),
            )
        })
        .collect()
}

/// Hands over arrays and collecting job; what was handed over is in `numbers` even when a later part is refused.
fn hand_over(
    plan: &Plan,
    folder: &Folder,
    submission: &Submission,
    limits: Limits,
    numbers: &mut Numbers,
) -> Result<()> {
    let (name, site, script) = (&plan.spec.name, &submission.site, folder.script());
    for (first, tasks, array) in arrays(submission.tasks.len(), site, limits) {
        let options = [vec![array], task_options(name, folder, site)].concat();
        let job = slurm::submit(&script, &options, &[first.to_string()])?;
        numbers.arrays.push(Array { job, first, tasks });
        folder.keep_numbers(numbers)?;
    }
    let after: String = numbers
        .arrays
        .iter()
        .map(|a| format!(":{}", a.job))
        .collect();
    let options = [
        vec![format!("--dependency=afterany{after}")],
        collect_options(name, folder, site),
    ]
    .concat();
    numbers.collect = Some(slurm::submit(&script, &options, &["collect".into()])?);
    folder.keep_numbers(numbers)
}

/// Shows commands and script, as they would be.
fn show(plan: &Plan, submission: &Submission, limits: Limits, egsde: &Path) -> Result<()> {
    let folder = Folder(std::path::absolute(plan.folder.join(".slurm/N"))?);
    let site = &submission.site;
    let line = |options: Vec<String>, argument: &str| {
        let words = ["sbatch".to_string()]
            .into_iter()
            .chain(options)
            .chain([folder.script().display().to_string(), argument.into()]);
        let words: Vec<String> = words.collect();
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
    };
    for (first, _, array) in arrays(submission.tasks.len(), site, limits) {
        println!(
            "{}",
            line(
                [vec![array], task_options(&plan.spec.name, &folder, site)].concat(),
                &first.to_string()
            )
        );
    }
    let after = "--dependency=afterany:JOB...".to_string();
    println!(
        "{}\n",
        line(
            [vec![after], collect_options(&plan.spec.name, &folder, site)].concat(),
            "collect"
        )
    );
    print!("{}", script(submission, &folder, egsde)?);
    Ok(())
}

/// `egsde submit`.
pub fn submit(args: &SubmitArgs, root: &Path) -> Result<()> {
    let site = args
        .site
        .as_ref()
        .map_or(Ok(Site::default()), |name| Site::read(root, name))?;
    let site = args.options.clone().over(site);
    site.check()?;
    for name in site.device.iter().flat_map(|d| d.split(',')) {
        device::gpu_index(name).map_err(Problem::user)?;
    }
    let plan = args.which.pinned_plan(root)?;
    check_inputs(&plan)?;
    // A look at the script needs no cluster.
    let (limits, queue) = match (Limits::ask(), Queue::ask()) {
        (Ok(limits), Ok(queue)) => (limits, queue),
        _ if args.dry_run => (Limits::DEFAULT, Queue::default()),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let statuses = status::all(&plan, &status::unfinished(&plan), &queue)?;
    let underway: HashSet<String> = statuses.into_iter().flat_map(|s| s.underway).collect();
    let jobs = to_submit(&plan, &underway);
    let name = &plan.spec.name;
    if jobs.is_empty() {
        eprintln!(
            "{name}: nothing to submit, {} jobs are in the queue, the others done (egsde status)",
            underway.len()
        );
        return Ok(());
    }
    let tasks = divide(
        &jobs,
        task_count(&site, jobs.len() * plan.spec.pictures, limits)?,
    );
    let submission = Submission {
        which: args.which.clone(),
        root: root.into(),
        plan_sha256: plan_sha256(&plan),
        site,
        tasks,
    };
    let egsde = std::env::current_exe().context("cannot tell where this program lies")?;
    if args.dry_run {
        return show(&plan, &submission, limits, &egsde);
    }
    let folder = Folder::new(&plan)?;
    let folder = Folder(folder.0.canonicalize()?);
    let mut numbers = Numbers::default();
    let handed = folder
        .keep(&submission)
        .and_then(|()| {
            write_atomically(
                &folder.script(),
                script(&submission, &folder, &egsde)?.as_bytes(),
            )
        })
        .and_then(|()| hand_over(&plan, &folder, &submission, limits, &mut numbers));
    if let Err(error) = handed {
        // Half an experiment is not left in the queue.
        if !numbers.arrays.is_empty() {
            slurm::cancel(&numbers.all())?;
        }
        folder.remove();
        return Err(error);
    }
    let all: Vec<String> = numbers.arrays.iter().map(|a| a.job.to_string()).collect();
    eprintln!(
        "{name}: submitted {} jobs as {} tasks of {} (array {}), collected by {}; egsde status {}",
        jobs.len(),
        submission.tasks.len(),
        folder.0.display(),
        all.join(", "),
        numbers.collect.unwrap_or_default(),
        args.which.file().display()
    );
    Ok(())
}

/// The last line of a log, or why there is none.
fn last_line(log: &Path) -> String {
    match std::fs::read(log) {
        Ok(bytes) => String::from_utf8_lossy(&bytes)
            .lines()
            .rev()
            .find(|l| !l.trim().is_empty())
            .unwrap_or("nothing")
            .to_string(),
        Err(_) => "there is no log: it never began, or its node does not see this folder".into(),
    }
}

fn print(status: &Status) {
    let states: Vec<String> = status
        .states
        .iter()
        .map(|(word, n)| format!("{n} {word}"))
        .collect();
    println!(
        "submission {}: {} tasks: {}; collecting: {}",
        status.number,
        status.tasks,
        states.join(", "),
        status.collect
    );
    for failed in &status.failed {
        println!(
            "  task {} ({}) {}, {} of its jobs unfinished, log {}: {}",
            failed.task,
            failed.name,
            failed.state,
            failed.unfinished,
            failed.log.display(),
            last_line(&failed.log)
        );
    }
}

/// `egsde status`: exits with 1 when tasks ended without their results.
pub fn status(args: &StatusArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let open = status::unfinished(&plan);
    println!(
        "{}: {} of {} jobs done",
        plan.spec.name,
        plan.jobs.len() - open.len(),
        plan.jobs.len()
    );
    if Folder::all(&plan).is_empty() {
        println!(
            "never submitted: egsde submit {}",
            args.which.file().display()
        );
        return Ok(());
    }
    let statuses = status::all(&plan, &open, &Queue::ask()?)?;
    statuses.iter().for_each(print);
    match statuses.iter().map(|s| s.failed.len()).sum::<usize>() {
        0 => Ok(()),
        n => {
            let text = format!(
                "{n} tasks ended without all of their results: egsde submit {} takes them up",
                args.which.file().display()
            );
            Err(Problem::No(text).into())
        }
    }
}

/// `egsde cancel`.
pub fn cancel(args: &StatusArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let queue = Queue::ask()?;
    let statuses = status::all(&plan, &status::unfinished(&plan), &queue)?;
    let underway: usize = statuses.iter().map(|s| s.underway.len()).sum();
    let lives = |job: &u64, tasks: usize| {
        (0..tasks.max(1)).any(|i| {
            queue
                .get(*job, (tasks > 0).then_some(i))
                .is_some_and(|t| t.lives())
        })
    };
    let mut jobs = Vec::new();
    for numbers in Folder::all(&plan).iter().map(Folder::numbers) {
        jobs.extend(
            numbers
                .arrays
                .iter()
                .filter(|a| lives(&a.job, a.tasks))
                .map(|a| a.job),
        );
        jobs.extend(numbers.collect.filter(|job| lives(job, 0)));
    }
    if !jobs.is_empty() {
        slurm::cancel(&jobs)?;
    }
    eprintln!(
        "{}: cancelled {} of Slurm's jobs with {underway} unfinished jobs; what is done stays",
        plan.spec.name,
        jobs.len()
    );
    Ok(())
}

/// `egsde task`: one task of an array, or the collecting job.
pub fn task(args: &TaskArgs, root: &Path) -> Result<()> {
    let folder = Folder(args.submission.clone());
    let submission = folder.submission()?;
    let plan = submission.plan(root)?;
    let file = submission.which.file();
    if args.task == "collect" {
        let table = Table::of(&plan, root)?;
        write_report(&table, &plan, root, file, None)?;
        return print_table(&table, &plan, file, false);
    }
    let number = args.task.parse::<usize>().ok();
    let jobs = number.and_then(|n| submission.tasks.get(n));
    let jobs = jobs.ok_or_else(|| {
        Problem::user(format!(
            "{} has no task {:?}",
            folder.0.display(),
            args.task
        ))
    })?;
    let devices = submission
        .site
        .device
        .as_deref()
        .unwrap_or("cpu")
        .split(',')
        .map(device::open_device);
    let resources = Resources {
        devices: devices
            .collect::<Result<_, String>>()
            .map_err(Problem::user)?,
        batch_size: submission.site.batch_size.unwrap_or(plan.spec.batch_size),
    };
    let only = Some(jobs.iter().cloned().collect());
    match execute(
        &plan,
        root,
        &resources,
        Part {
            only,
            ..Default::default()
        },
    ) {
        Ok(ran) => {
            eprintln!(
                "task {}: ran {ran} of its {} jobs, the others were done",
                args.task,
                jobs.len()
            );
            Ok(())
        }
        Err(error) => go_on_later(error, &submission.site),
    }
}

/// A task whose time was over goes back into the queue.
fn go_on_later(error: anyhow::Error, site: &Site) -> Result<()> {
    let out_of_time = matches!(
        error.downcast_ref::<Problem>(),
        Some(Problem::Interrupted {
            code: OUT_OF_TIME,
            ..
        })
    );
    let (true, Ok(job)) = (out_of_time, std::env::var("SLURM_JOB_ID")) else {
        return Err(error);
    };
    let restarts = std::env::var("SLURM_RESTART_COUNT")
        .ok()
        .and_then(|n| n.parse::<usize>().ok())
        .unwrap_or(0);
    if restarts >= site.restarts() {
        return Err(error).user(format!(
            "not requeued after {restarts} restarts (--most-restarts)"
        ));
    }
    // Before the call: Slurm may end this process before it returns.
    eprintln!(
        "{error:#}; back into the queue for the {}. time",
        restarts + 1
    );
    // The controller may be away for a while: seven tries in about a minute.
    let patience = ExponentialBuilder::default().with_max_times(6);
    (|| slurm::requeue(&job))
        .retry(patience)
        .notify(|error, wait| eprintln!("{error:#}; again in {wait:?}"))
        .call()
}
