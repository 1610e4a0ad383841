//! A run: which of a plan's jobs are taken, on which devices.

use super::job_queue::Work;
use super::job_sampler::JobSampler;
use super::job_scorer::JobScorer;
use super::preview::{Preview, PreviewRequest};
use super::run_progress::RunProgress;
use super::workers::{Outcome, Stages, WorkerPool};
use crate::error::{check_failed, invalid_input};
use crate::inputs::task::Task;
use crate::plan::checks::check_source_count;
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::runtime::signal;
use crate::store::results::Results;
use anyhow::Result;
use egsde_data::image_set::ImageSet;
use egsde_models::limit_threads;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use tch::Device;

/// How to run; none of it changes a result (another kind of device does, to the last rounding).
#[derive(Debug, Clone)]
pub struct Resources {
    /// One worker per entry; a device may stand twice. A single CPU stands for [`Self::workers`].
    pub devices: Vec<Device>,
    /// Jobs at a time where the CPU is the only device.
    pub workers: Workers,
    /// Images between two writes.
    pub save_every: usize,
}

/// Jobs at a time on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// As many as pay: several where images are small, whose layers keep no more than two
    /// processors busy; one where they are large, whose layers need the memory.
    Auto,
    /// So many, but no more than there are jobs.
    Count(usize),
}

impl Default for Workers {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl std::str::FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(count) if count > 0 => Ok(Self::Count(count)),
            _ => Err("expected auto or a whole number of at least 1".into()),
        }
    }
}

impl Workers {
    /// The largest side of images for which [`Workers::Auto`] takes several.
    const SMALL_SIDE: usize = 64;
    /// The most that [`Workers::Auto`] takes: each has networks and a batch of its own in memory.
    const MOST: usize = 8;

    /// The number of workers, 1 to `jobs`, for images of `side` pixels on a CPU with `threads`
    /// threads.
    fn count(self, jobs: usize, side: usize, threads: usize) -> usize {
        let wanted = match self {
            Self::Count(count) => count,
            Self::Auto if side <= Self::SMALL_SIDE => threads.min(Self::MOST),
            Self::Auto => 1,
        };
        wanted.min(jobs).max(1)
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

/// The selected jobs that are not finished: results whose files have changed since are forgotten.
/// Two rows with equal settings share one job.
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
    let evaluations: usize = jobs.iter().map(|job| job.evaluations()).sum();
    let pictures = plan.experiment.pictures;
    let bar = RunProgress::new(&plan.experiment.name, evaluations * pictures);
    for job in preview.map_or(Vec::new(), Preview::jobs) {
        if !jobs.iter().any(|unfinished| unfinished.id == job.id) {
            bar.note_shown(job, pictures);
        }
    }
    bar
}

/// The first images of a task's source, as many as the experiment takes.
fn load_sources(task: &Task, project: &Project, wanted: usize) -> Result<ImageSet> {
    let source = task.source.load(project, task.image_size, wanted)?;
    check_source_count(source.len(), wanted, &task.source.domain)?;
    Ok(source)
}

/// Reads the sources and opens the evaluator on one device; the sampler opens its networks with the
/// first image that is missing.
///
/// # Errors
/// Invalid input: the precision, the sources or the feature network.
fn open_stages<'a>(
    plan: &'a Plan,
    project: &'a Project,
    device: Device,
    save_every: usize,
    bar: &'a RunProgress,
) -> Result<Stages<'a>> {
    let precision = plan.experiment.precision;
    precision.prepare(device).map_err(invalid_input)?;
    let source = load_sources(&plan.task, project, plan.experiment.pictures)?;
    let source = Arc::new(source);
    let scorer = JobScorer::open(plan, project, device, source.clone(), bar)?;
    let turn = scorer.turn();
    let sampler = JobSampler::new(plan, project, device, source, save_every, turn, bar);
    Ok(Stages {
        sampler: Box::new(sampler),
        scorer: Box::new(scorer),
    })
}

/// One device per worker.
fn devices_of_workers(resources: &Resources, jobs: usize, side: usize) -> Vec<Device> {
    match resources.devices[..] {
        [Device::Cpu] => vec![Device::Cpu; resources.workers.count(jobs, side, all_threads())],
        _ => resources.devices.clone(),
    }
}

/// The threads that this process has for all its workers.
fn all_threads() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// The threads of each worker: those of the CPU share them out. With fewer than two, libtorch would
/// take other kernels, which round differently.
fn threads_of_worker(devices: &[Device]) -> usize {
    let on_cpu = devices.iter().filter(|device| **device == Device::Cpu);
    (all_threads() / on_cpu.count().max(1)).max(2)
}

/// The number of jobs that ran.
///
/// # Errors
/// Check failed: a job failed, or no device was left for it.
fn count_ran(outcome: &Outcome) -> Result<usize> {
    let Outcome {
        ran,
        failed,
        lost,
        left,
    } = outcome;
    let total = ran.len() + failed.len() + left;
    if *left > 0 {
        return Err(check_failed(format!(
            "{left} of {total} jobs are left, since {}; the same command goes on from there",
            lost.join(", ")
        )));
    }
    if !failed.is_empty() {
        let (count, names) = (failed.len(), failed.join(", "));
        return Err(check_failed(format!(
            "{count} of {total} jobs failed: {names}"
        )));
    }
    Ok(ran.len())
}

/// Runs what is not finished and reads the new results; returns how many jobs this process ran.
/// Whatever can be known before the first network evaluation is checked first.
///
/// # Errors
/// Invalid input, a signal, jobs that failed (by name), or jobs that no device was left for.
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
    let (bar, save_every) = (bar(plan, preview.as_ref(), &jobs), resources.save_every);
    let devices = devices_of_workers(resources, jobs.len(), plan.task.image_size);
    let threads = threads_of_worker(&devices);
    let open = |device| {
        limit_threads(threads);
        open_stages(plan, project, device, save_every, &bar)
    };
    let work = queue(preview.as_ref(), &jobs);
    let outcome = WorkerPool::new(plan, work, preview.as_ref(), &bar, &open).run(&devices);
    bar.finish();
    let outcome = outcome?;
    results.read_missing();
    count_ran(&outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn small_images_are_worked_on_side_by_side() {
        assert_eq!(Workers::Auto.count(15, 32, 2), 2);
        assert_eq!(Workers::Auto.count(15, 32, 64), Workers::MOST);
        assert_eq!(Workers::Auto.count(3, 64, 16), 3);
        assert_eq!(Workers::Auto.count(15, 256, 16), 1);
        assert_eq!("6".parse::<Workers>().unwrap().count(4, 256, 2), 4);
        assert_eq!("auto".parse(), Ok(Workers::Auto));
        assert!("0".parse::<Workers>().is_err());
        assert_eq!(Workers::default().count(15, 32, 8), 1);
    }

    fn four_workers_on(devices: &[Device]) -> Resources {
        Resources {
            devices: devices.to_vec(),
            workers: Workers::Count(4),
            save_every: 1,
        }
    }

    #[test]
    fn gpus_and_devices_named_twice_stay_as_they_are() {
        let gpus = [Device::Cuda(0), Device::Cuda(1)];
        assert_eq!(devices_of_workers(&four_workers_on(&gpus), 9, 32), gpus);
        let twice = [Device::Cpu; 2];
        assert_eq!(devices_of_workers(&four_workers_on(&twice), 9, 32), twice);
        assert_eq!(
            devices_of_workers(&four_workers_on(&twice[..1]), 9, 32),
            [Device::Cpu; 4]
        );
        assert!(threads_of_worker(&[Device::Cpu; 64]) == 2);
    }

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

    #[test]
    fn a_lost_device_counts_only_where_jobs_are_left() {
        let mut outcome = Outcome {
            ran: vec!["a".into(), "b".into()],
            lost: vec!["cuda:0 no longer works (CUDA error: unspecified launch failure)".into()],
            ..Outcome::default()
        };
        assert_eq!(count_ran(&outcome).unwrap(), 2);
        outcome.left = 3;
        let error = count_ran(&outcome).unwrap_err();
        assert_eq!(exit_code(&error), 1);
        let text = error.to_string();
        assert!(
            text.starts_with("3 of 5 jobs are left, since cuda:0 no longer works"),
            "{text}"
        );
    }
}
