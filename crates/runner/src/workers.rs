//! A run: one worker a device, all taking jobs from one queue, beside whatever other processes work on the same experiment.

use crate::error::{Problem, UserError};
use crate::execute::{Runner, lock, stop_if_asked};
use crate::interrupt;
use crate::memory::panicked;
use crate::plan::{Job, Plan};
use crate::progress::Progress;
use crate::store::JobFolder;
use anyhow::Result;
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tch::Device;

/// How to run; none of it changes a result (another kind of device does, to the last rounding).
#[derive(Debug, Clone)]
pub struct Resources {
    /// A worker each; one may stand twice.
    pub devices: Vec<Device>,
    pub batch_size: usize,
}

/// How long a worker waits before it looks again at jobs another process holds.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// What the workers share.
struct Shift<'a> {
    plan: &'a Plan,
    root: &'a Path,
    batch_size: usize,
    queue: Mutex<VecDeque<(&'a Job, JobFolder)>>,
    bar: Mutex<Progress>,
    ran: Mutex<Vec<String>>,
    failed: Mutex<Vec<String>>,
    /// Somebody met what only the user can mend, or a signal came: nobody begins anything more.
    over: AtomicBool,
    said_waiting: AtomicBool,
}

impl<'a> Shift<'a> {
    /// Jobs in order; those another process holds come last, when it is done with them or gone.
    fn work(&self, device: Device) -> Result<()> {
        let runner = Runner::open(self.plan, self.root, device, self.batch_size, &self.bar)?;
        let mut held = Vec::new();
        while let Some((job, folder)) = self.next(&mut held) {
            stop_if_asked(self.plan, || format!("{} jobs done", lock(&self.ran).len()))?;
            match folder.hold().user("cannot write results")? {
                None => held.push((job, folder)),
                // Another process may have finished it since.
                Some(_) if folder.is_finished() => {}
                Some(_lock) => self.run_one(&runner, job, &folder)?,
            }
        }
        Ok(())
    }

    /// The next job, or, when only held ones are left, one of those after a wait.
    fn next(&self, held: &mut Vec<(&'a Job, JobFolder)>) -> Option<(&'a Job, JobFolder)> {
        if self.over.load(Ordering::SeqCst) {
            return None;
        }
        let next = lock(&self.queue).pop_front();
        if next.is_some() || held.is_empty() {
            return next;
        }
        if !self.said_waiting.swap(true, Ordering::SeqCst) {
            let text = format!(
                "{}: waiting for {} jobs that another process works on",
                self.plan.spec.name,
                held.len()
            );
            lock(&self.bar).say(&text);
        }
        std::thread::sleep(LOOK_AGAIN);
        Some(held.remove(0))
    }

    /// A job that fails, or panics, does not stop the others; what the user must mend does.
    fn run_one(&self, runner: &Runner, job: &Job, folder: &JobFolder) -> Result<()> {
        let done =
            catch_unwind(AssertUnwindSafe(|| runner.run(job, folder))).unwrap_or_else(panicked);
        match done {
            Ok(()) => lock(&self.ran).push(job.id.clone()),
            Err(error) if error.is::<Problem>() => return Err(error),
            Err(error) => {
                lock(&self.bar).say(&format!("egsde: job {} failed: {error:#}", job.id));
                lock(&self.failed).push(job.id.clone());
            }
        }
        Ok(())
    }

    /// [`Shift::work`]; whatever ends it early ends the others too.
    fn worker(&self, device: Device) -> Result<()> {
        let result = catch_unwind(AssertUnwindSafe(|| self.work(device))).unwrap_or_else(panicked);
        if result.is_err() {
            self.over.store(true, Ordering::SeqCst);
        }
        result
    }
}

/// A part of a plan's jobs, for machines that share nothing: `2/8` is every eighth job from the second on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err(format!(
                "{text:?} is no shard: expected i/n with 1 <= i <= n, for example 2/8"
            )),
        }
    }
}

impl Shard {
    /// Whether a job, by its place in the plan, belongs to it.
    pub fn holds(self, place: usize) -> bool {
        place % self.of == self.index - 1
    }
}

/// Which of a plan's jobs to run.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub shard: Option<Shard>,
    /// Only those of these ids.
    pub only: Option<BTreeSet<String>>,
    /// At most this many.
    pub limit: Option<usize>,
}

impl Part {
    fn holds(&self, place: usize, job: &Job) -> bool {
        self.shard.is_none_or(|s| s.holds(place))
            && self.only.as_ref().is_none_or(|ids| ids.contains(&job.id))
    }
}

/// Runs what is not finished; returns how many jobs this process ran.
pub fn execute(plan: &Plan, root: &Path, resources: &Resources, part: Part) -> Result<usize> {
    std::fs::create_dir_all(&plan.folder).user(format!(
        "cannot write to {}: choose another folder with --set runs_dir=DIR",
        plan.folder.display()
    ))?;
    let own = plan
        .jobs
        .iter()
        .enumerate()
        .filter(|(place, job)| part.holds(*place, job));
    let folders = own.map(|(_, j)| (j, JobFolder::of(&plan.folder, j)));
    let todo: VecDeque<_> = folders
        .filter(|(_, f)| !f.is_finished())
        .take(part.limit.unwrap_or(usize::MAX))
        .collect();
    if todo.is_empty() {
        return Ok(0);
    }
    interrupt::listen()?;
    let cost = |(job, _): &(&Job, JobFolder)| {
        (job.identity.settings.evaluations().diffusion * plan.spec.pictures) as u64
    };
    let total = todo.iter().map(cost).sum();
    let shift = Shift {
        plan,
        root,
        batch_size: resources.batch_size,
        bar: Mutex::new(Progress::new(&plan.spec.name, "evaluations", total)),
        queue: Mutex::new(todo),
        ran: Mutex::default(),
        failed: Mutex::default(),
        over: AtomicBool::new(false),
        said_waiting: AtomicBool::new(false),
    };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let workers: Vec<_> = resources
            .devices
            .iter()
            .map(|device| scope.spawn(|| shift.worker(*device)))
            .collect();
        workers
            .into_iter()
            .map(|w| w.join().unwrap_or_else(panicked))
            .collect()
    });
    lock(&shift.bar).finish();
    results.into_iter().collect::<Result<Vec<()>>>()?;
    let (ran, failed) = (lock(&shift.ran).len(), lock(&shift.failed).clone());
    match failed.len() {
        0 => Ok(ran),
        n => Err(Problem::No(format!(
            "{n} of {} jobs failed: {}",
            n + ran,
            failed.join(", ")
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_divide_the_jobs() {
        let shards: Vec<Shard> = (1..=3).map(|i| format!("{i}/3").parse().unwrap()).collect();
        assert!((0..20).all(|place| shards.iter().filter(|s| s.holds(place)).count() == 1));
        for text in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
