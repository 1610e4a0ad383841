//! A run: one worker per device, all taking jobs from one queue, beside whatever other processes
//! work on the same experiment.

use super::job_runner::{JobRunner, stop_if_signalled};
use super::preview::{Preview, PreviewRequest};
use super::run_progress::{RunProgress, lock};
use crate::error::{OrInvalidInput, check_failed, ends_the_run, one_line};
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::runtime::memory::panic_error;
use crate::runtime::signal;
use crate::store::job_dir::JobDir;
use crate::store::results::{Results, read_scores};
use anyhow::Result;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tch::Device;

/// How to run; none of it changes a result (another kind of device does, to the last rounding).
#[derive(Debug, Clone)]
pub struct Resources {
    /// One worker per entry; a device may stand twice.
    pub devices: Vec<Device>,
    /// Images between two writes.
    pub save_every: usize,
}

/// How long a worker waits before it looks again at jobs that another process holds.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// What a worker does with a job.
#[derive(Clone, Copy)]
enum Work<'a> {
    /// It makes and scores the first images.
    Preview(&'a Job),
    /// It makes all that is missing.
    Whole(&'a Job),
}

/// What the workers share.
struct WorkerPool<'a> {
    plan: &'a Plan,
    project: &'a Project,
    save_every: usize,
    queue: Mutex<VecDeque<Work<'a>>>,
    preview: Option<&'a Preview<'a>>,
    bar: RunProgress,
    ran: Mutex<Vec<String>>,
    failed: Mutex<Vec<String>>,
    /// Set once something ends the whole run: no worker begins another job.
    stopped: AtomicBool,
    reported_waiting: AtomicBool,
}

impl<'a> WorkerPool<'a> {
    fn dir(&self, job: &Job) -> JobDir {
        JobDir::new(&self.plan.folder, job)
    }

    /// Runs jobs in order; those that another process holds come last, when it has finished them or
    /// is gone.
    fn work(&self, device: Device) -> Result<()> {
        let (save_every, bar) = (self.save_every, &self.bar);
        let runner = JobRunner::open(self.plan, self.project, device, save_every, bar)?;
        let mut held = Vec::new();
        while let Some(work) = self.next_work(&mut held) {
            stop_if_signalled(self.plan, || format!("{} jobs done", lock(&self.ran).len()))?;
            match work {
                Work::Preview(job) => self.preview_job(&runner, job)?,
                Work::Whole(job) => {
                    let dir = self.dir(job);
                    match dir.try_lock().or_invalid_input("cannot write results")? {
                        None => held.push(job),
                        // Another process may have finished it since.
                        Some(_) if self.is_finished(job, &dir) => {}
                        Some(_lock) => self.run_job(&runner, job, &dir)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn is_finished(&self, job: &Job, dir: &JobDir) -> bool {
        read_scores(self.plan, job).is_some_and(|scores| dir.problems_beside(&scores).is_empty())
    }

    /// The next work or, when only held jobs are left, one of those after a wait.
    fn next_work(&self, held: &mut Vec<&'a Job>) -> Option<Work<'a>> {
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let next = lock(&self.queue).pop_front();
        if next.is_some() || held.is_empty() {
            return next;
        }
        if !self.reported_waiting.swap(true, Ordering::SeqCst) {
            self.bar.print_line(&format!(
                "{}: waiting for {} jobs that another process works on",
                self.plan.experiment.name,
                held.len()
            ));
        }
        std::thread::sleep(LOOK_AGAIN);
        Some(Work::Whole(held.remove(0)))
    }

    /// Makes a job's part of the preview, unless another process works on the job. What breaks in
    /// it breaks again, and is reported, when the whole job is run.
    fn preview_job(&self, runner: &JobRunner, job: &Job) -> Result<()> {
        let Some(preview) = self.preview else {
            return Ok(());
        };
        let dir = self.dir(job);
        let scores = match dir.try_lock().or_invalid_input("cannot write results")? {
            None => None,
            Some(_lock) => {
                let count = preview.pictures();
                let done = catch_unwind(AssertUnwindSafe(|| runner.preview(job, &dir, count)));
                match done.unwrap_or_else(|panic| Err(panic_error(panic.as_ref()))) {
                    Ok(scores) => Some(scores),
                    Err(error) if ends_the_run(&error) => return Err(error),
                    Err(_) => None,
                }
            }
        };
        if let Some(text) = preview.take(job, scores)? {
            self.bar.print_line(&text);
        }
        Ok(())
    }

    /// A job that fails, or panics, does not stop the others; what all of them would meet does.
    fn run_job(&self, runner: &JobRunner, job: &Job, dir: &JobDir) -> Result<()> {
        let done = catch_unwind(AssertUnwindSafe(|| runner.run(job, dir)));
        match done.unwrap_or_else(|panic| Err(panic_error(panic.as_ref()))) {
            Ok(()) => lock(&self.ran).push(job.id.clone()),
            Err(error) if ends_the_run(&error) => return Err(error),
            Err(error) => {
                let reason = one_line(&format!("{error:#}"));
                self.bar
                    .print_line(&format!("egsde: job {} failed: {reason}", job.id));
                lock(&self.failed).push(job.id.clone());
            }
        }
        Ok(())
    }

    /// [`WorkerPool::work`]; whatever ends it early ends the other workers too.
    fn run_worker(&self, device: Device) -> Result<()> {
        let result = catch_unwind(AssertUnwindSafe(|| self.work(device)));
        let result = result.unwrap_or_else(|panic| Err(panic_error(panic.as_ref())));
        if result.is_err() {
            self.stopped.store(true, Ordering::SeqCst);
        }
        result
    }

    /// Runs one worker per device; returns the first error.
    fn run_workers(&self, devices: &[Device]) -> Result<()> {
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let spawn = |device: &Device| {
                let device = *device;
                scope.spawn(move || self.run_worker(device))
            };
            let workers: Vec<_> = devices.iter().map(spawn).collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined
                .map(|joined| joined.unwrap_or_else(|panic| Err(panic_error(panic.as_ref()))))
                .collect()
        });
        results.into_iter().collect()
    }
}

/// A part of a plan's jobs, for machines that share nothing: `2/8` is every eighth job from the
/// second on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once('/')
            .map(|(index, count)| (index.parse(), count.parse()));
        match numbers {
            Some((Ok(index), Ok(count))) if (1..=count).contains(&index) => {
                Ok(Self { index, count })
            }
            _ => Err(format!(
                "{text:?} is no shard: expected i/n with 1 <= i <= n, for example 2/8"
            )),
        }
    }
}

impl fmt::Display for Shard {
    /// As the command line spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// Whether a job, by its place in the plan, belongs to it.
    pub fn contains(self, place: usize) -> bool {
        place % self.count == self.index - 1
    }
}

/// Which of a plan's jobs to run.
#[derive(Debug, Clone, Default)]
pub struct JobSelection {
    /// The part of the plan that this process takes; all jobs when none.
    pub shard: Option<Shard>,
    /// Only jobs of these ids.
    pub only: Option<BTreeSet<String>>,
    /// At most this many.
    pub limit: Option<usize>,
}

impl JobSelection {
    fn contains(&self, place: usize, job: &Job) -> bool {
        self.shard.is_none_or(|shard| shard.contains(place))
            && self.only.as_ref().is_none_or(|ids| ids.contains(&job.id))
    }
}

/// The selected jobs that are not finished. Two rows with equal settings share one job.
fn unfinished<'a>(results: &mut Results<'a>, selection: &JobSelection) -> Vec<&'a Job> {
    let plan = results.plan;
    let (mut seen, mut jobs) = (BTreeSet::new(), Vec::new());
    for place in results.verify_folders() {
        let job = &plan.jobs[place];
        if selection.contains(place, job) && seen.insert(&job.id) {
            jobs.push(job);
        }
    }
    jobs.truncate(selection.limit.unwrap_or(usize::MAX));
    jobs
}

/// All work in its order: the preview first.
fn queue<'a>(preview: Option<&'a Preview>, jobs: &[&'a Job]) -> VecDeque<Work<'a>> {
    let first = preview.map_or(Vec::new(), Preview::jobs);
    let first = first.into_iter().map(Work::Preview);
    first
        .chain(jobs.iter().map(|job| Work::Whole(job)))
        .collect()
}

/// A bar over all evaluations of some jobs.
fn bar(plan: &Plan, preview: Option<&Preview>, jobs: &[&Job]) -> RunProgress {
    let evaluations: usize = jobs.iter().map(|job| job.diffusion_evaluations()).sum();
    let pictures = plan.experiment.pictures;
    let bar = RunProgress::new(&plan.experiment.name, evaluations * pictures);
    for job in preview.map_or(Vec::new(), Preview::jobs) {
        if !jobs.iter().any(|unfinished| unfinished.id == job.id) {
            bar.note_shown(job, pictures);
        }
    }
    bar
}

/// Runs what is not finished and reads the new results; returns how many jobs this process ran.
/// Whatever can be known before the first network evaluation is checked first.
///
/// # Errors
/// Invalid input, a signal, or jobs that failed (by name).
pub fn run_plan(
    results: &mut Results,
    project: &Project,
    resources: &Resources,
    selection: &JobSelection,
) -> Result<usize> {
    run_plan_after_preview(results, project, resources, selection, None)
}

/// [`run_plan`] after a preview, where one is asked for.
///
/// # Errors
/// As [`run_plan`], and those of showing the preview.
pub fn run_plan_after_preview(
    results: &mut Results,
    project: &Project,
    resources: &Resources,
    selection: &JobSelection,
    preview: Option<&PreviewRequest>,
) -> Result<usize> {
    let plan = results.plan;
    plan.check(project)?;
    plan.check_writable()?;
    let jobs = unfinished(results, selection);
    if jobs.is_empty() {
        return Ok(0);
    }
    signal::listen()?;
    let preview = preview.and_then(|request| Preview::new(request, plan, &jobs));
    let pool = WorkerPool {
        plan,
        project,
        save_every: resources.save_every,
        bar: bar(plan, preview.as_ref(), &jobs),
        queue: Mutex::new(queue(preview.as_ref(), &jobs)),
        preview: preview.as_ref(),
        ran: Mutex::default(),
        failed: Mutex::default(),
        stopped: AtomicBool::new(false),
        reported_waiting: AtomicBool::new(false),
    };
    let outcome = pool.run_workers(&resources.devices);
    pool.bar.finish();
    outcome?;
    let (ran, failed) = (lock(&pool.ran).len(), lock(&pool.failed).clone());
    results.read_missing();
    match failed.len() {
        0 => Ok(ran),
        n => Err(check_failed(format!(
            "{n} of {} jobs failed: {}",
            n + ran,
            failed.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_divide_the_jobs() {
        let shards: Vec<Shard> = (1..=3).map(|i| format!("{i}/3").parse().unwrap()).collect();
        for place in 0..20 {
            assert_eq!(
                shards.iter().filter(|shard| shard.contains(place)).count(),
                1
            );
        }
        for text in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
