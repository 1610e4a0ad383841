//! The workers of a run: one per device, all taking jobs from one queue, beside whatever other
//! processes work on the same experiment. Each samples one job while it scores the one before. A
//! worker whose GPU no longer works gives its jobs back, and the others take them over.

use super::device_loss::{DeviceLost, catch_into_error, is_lost, lost_if_device_lost};
use super::job_queue::{JobQueue, TakenJob, Work};
use super::preview::Preview;
use super::run_progress::RunProgress;
use crate::error::OrInvalidInput;
use crate::plan::{Job, Plan};
use crate::runtime::device::device_name;
use crate::runtime::memory::panic_error;
use crate::runtime::signal;
use crate::store::job_dir::{CANNOT_WRITE_RESULTS, JobDir};
use crate::store::results::read_scores;
use crate::store::scores::{SamplingConditions, Scores};
use anyhow::Result;
use egsde_data::lock::lock;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tch::Device;

/// What sampling a job came to.
#[derive(Debug)]
pub struct Sampled {
    /// How the images were made; of images that were there before, as they were made then.
    pub conditions: SamplingConditions,
    /// Images that were made now.
    pub images: usize,
    /// Seconds that they took.
    pub seconds: f64,
}

/// Makes the images of jobs.
pub trait SampleJob {
    /// Makes what is missing.
    ///
    /// # Errors
    /// Invalid input that other jobs would meet too, a signal, or what broke in this job.
    fn sample(&self, job: &Job, dir: &JobDir) -> Result<Sampled>;

    /// Makes those of the first `count` images that are missing.
    ///
    /// # Errors
    /// As [`SampleJob::sample`].
    fn sample_first(&self, job: &Job, dir: &JobDir, count: usize) -> Result<Sampled>;
}

/// Scores the images of jobs.
pub trait ScoreJob {
    /// Scores images that are all there, which ends the job.
    ///
    /// # Errors
    /// As [`SampleJob::sample`].
    fn score(&self, job: &Job, dir: &JobDir, sampled: Sampled) -> Result<()>;

    /// Scores of the first `count` images alone, which are kept nowhere.
    ///
    /// # Errors
    /// As [`SampleJob::sample`].
    fn score_first(&self, dir: &JobDir, count: usize, sampled: Sampled) -> Result<Scores>;
}

/// What one worker does with jobs, in this order; the second runs in a thread of its own.
pub struct Stages<'a> {
    /// Makes images.
    pub sampler: Box<dyn SampleJob + 'a>,
    /// Scores them.
    pub scorer: Box<dyn ScoreJob + Send + 'a>,
}

/// Opens the stages on a device.
pub type OpenStages<'a> = dyn Fn(Device) -> Result<Stages<'a>> + Sync + 'a;

/// Jobs that wait for their scores while the next one is sampled.
const WAITING_FOR_SCORES: usize = 1;

/// Ends the work after a signal; `state` tells what is kept.
pub(crate) fn stop_if_signalled(plan: &Plan, state: impl FnOnce() -> String) -> Result<()> {
    signal::stop_if_requested(|| {
        format!(
            "interrupted: {}; the same command goes on from there ({})",
            state(),
            plan.folder.display()
        )
    })
}

/// What became of the jobs.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Jobs that were done, by id.
    pub ran: Vec<String>,
    /// Jobs that failed, by id.
    pub failed: Vec<String>,
    /// The devices that were lost, with what they said.
    pub lost: Vec<String>,
    /// Jobs that no device was left for.
    pub left: usize,
}

/// What the workers share.
pub struct WorkerPool<'a> {
    plan: &'a Plan,
    bar: &'a RunProgress,
    open: &'a OpenStages<'a>,
    preview: Option<&'a Preview<'a>>,
    queue: JobQueue<'a>,
    ran: Mutex<Vec<String>>,
    lost: Mutex<Vec<String>>,
}

/// Work whose images are there, on its way to its scores.
struct ToScore<'p, 'a> {
    taken: TakenJob<'p, 'a>,
    sampled: Sampled,
    /// Told once the scores are there, where the other thread waits for them.
    done: Option<SyncSender<()>>,
}

impl<'a> WorkerPool<'a> {
    /// A pool for `work` on jobs of a plan; `preview` takes what previews find.
    pub fn new(
        plan: &'a Plan,
        work: VecDeque<Work<'a>>,
        preview: Option<&'a Preview<'a>>,
        bar: &'a RunProgress,
        open: &'a OpenStages<'a>,
    ) -> Self {
        Self {
            plan,
            bar,
            open,
            preview,
            queue: JobQueue::new(&plan.experiment.name, work, bar),
            ran: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    fn dir(&self, job: &Job) -> JobDir {
        JobDir::new(&self.plan.folder, job)
    }

    fn is_finished(&self, job: &Job, dir: &JobDir) -> bool {
        read_scores(self.plan, job).is_some_and(|scores| dir.problems_beside(&scores).is_empty())
    }

    /// Samples jobs in order and hands them over to be scored; those that another process holds
    /// come last, when it has finished them or is gone.
    fn sample_jobs<'p>(
        &'p self,
        device: Device,
        sampler: &dyn SampleJob,
        scores: &SyncSender<ToScore<'p, 'a>>,
    ) -> Result<()> {
        while let Some(taken) = self.queue.next_job(device) {
            stop_if_signalled(self.plan, || format!("{} jobs done", lock(&self.ran).len()))?;
            let is_handed_over = match taken.work {
                Work::Preview(_) => self.sample_preview(taken, sampler, scores)?,
                Work::Whole(_) => self.sample_whole(taken, sampler, scores)?,
            };
            // The other thread has gone when it met what ends this worker too.
            if !is_handed_over {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Samples a whole job; false where nothing takes it over.
    fn sample_whole<'p>(
        &'p self,
        mut taken: TakenJob<'p, 'a>,
        sampler: &dyn SampleJob,
        scores: &SyncSender<ToScore<'p, 'a>>,
    ) -> Result<bool> {
        let (job, dir) = (taken.job, self.dir(taken.job));
        match dir.try_lock().or_invalid_input(CANNOT_WRITE_RESULTS)? {
            None => taken.hold(),
            // Another process may have finished it since.
            Some(_) if self.is_finished(job, &dir) => taken.end(),
            Some(held) => {
                taken.lock = Some(held);
                if let Some(sampled) = taken.attempt(|| sampler.sample(job, &dir))? {
                    let done = None;
                    let to_score = ToScore {
                        taken,
                        sampled,
                        done,
                    };
                    return Ok(scores.send(to_score).is_ok());
                }
            }
        }
        Ok(true)
    }

    /// Makes a job's part of the preview, unless another process works on the job, and waits for
    /// its scores: the job itself may be the next in the queue.
    fn sample_preview<'p>(
        &'p self,
        mut taken: TakenJob<'p, 'a>,
        sampler: &dyn SampleJob,
        scores: &SyncSender<ToScore<'p, 'a>>,
    ) -> Result<bool> {
        let Some(preview) = self.preview else {
            taken.end();
            return Ok(true);
        };
        let (job, dir) = (taken.job, self.dir(taken.job));
        let held = dir.try_lock().or_invalid_input(CANNOT_WRITE_RESULTS)?;
        let mut sampled = None;
        if held.is_some() {
            taken.lock = held;
            sampled = taken.attempt(|| sampler.sample_first(job, &dir, preview.pictures()))?;
        }
        let Some(sampled) = sampled else {
            self.show_preview(job, None)?;
            taken.end();
            return Ok(true);
        };
        let (done, is_done) = sync_channel(1);
        let done = Some(done);
        let to_score = ToScore {
            taken,
            sampled,
            done,
        };
        Ok(scores.send(to_score).is_ok() && is_done.recv().is_ok())
    }

    fn show_preview(&self, job: &Job, scores: Option<Scores>) -> Result<()> {
        let Some(preview) = self.preview else {
            return Ok(());
        };
        if let Some(text) = preview.take(job, scores)? {
            self.bar.print_line(&text);
        }
        Ok(())
    }

    /// Scores what the other thread of this worker has sampled.
    fn score_jobs(&self, scorer: &dyn ScoreJob, sampled: Receiver<ToScore<'_, 'a>>) -> Result<()> {
        for to_score in sampled {
            let ToScore {
                mut taken,
                sampled,
                done,
            } = to_score;
            let (job, dir) = (taken.job, self.dir(taken.job));
            match taken.work {
                Work::Whole(_) => {
                    let scored = taken.attempt(|| scorer.score(job, &dir, sampled))?;
                    if scored.is_some() {
                        lock(&self.ran).push(job.id.clone());
                    }
                }
                Work::Preview(_) => {
                    let count = self.preview.map_or(0, Preview::pictures);
                    let scores = taken.attempt(|| scorer.score_first(&dir, count, sampled))?;
                    self.show_preview(job, scores)?;
                }
            }
            taken.end();
            if let Some(done) = done {
                // The other thread waits for it.
                let _ = done.send(());
            }
        }
        Ok(())
    }

    /// [`WorkerPool::score_jobs`]; what ends the run ends it here and not at the end of the job
    /// that is sampled beside.
    fn run_scorer(&self, scorer: &dyn ScoreJob, sampled: Receiver<ToScore<'_, 'a>>) -> Result<()> {
        let result = catch_into_error(|| self.score_jobs(scorer, sampled));
        if result.is_err() && !is_lost(&result) {
            self.queue.stop();
        }
        result
    }

    /// Works on jobs until none is left.
    fn work(&self, device: Device) -> Result<()> {
        let stages = catch_into_error(|| (self.open)(device)).map_err(lost_if_device_lost)?;
        let Stages { sampler, scorer } = stages;
        let (sampling, scoring) = std::thread::scope(|scope| {
            let (sender, sampled) = sync_channel(WAITING_FOR_SCORES);
            let scoring = scope.spawn(move || {
                let result = self.run_scorer(scorer.as_ref(), sampled);
                (result, scorer)
            });
            let sampling = catch_into_error(|| self.sample_jobs(device, sampler.as_ref(), &sender));
            drop(sender);
            (sampling, scoring.join())
        });
        let (scoring, scorer) = match scoring {
            Ok((result, scorer)) => (result, Some(scorer)),
            Err(panic) => (Err(panic_error(panic.as_ref())), None),
        };
        let result = sampling.and(scoring);
        if is_lost(&result) {
            // A GPU that no longer works may end the process when its memory is given back.
            std::mem::forget((sampler, scorer));
        }
        result
    }

    /// [`WorkerPool::work`]; whatever ends it early ends the other workers too, but for the loss of
    /// its GPU.
    fn run_worker(&self, device: Device) -> Result<()> {
        let result = catch_into_error(|| self.work(device));
        let Err(error) = result else {
            return Ok(());
        };
        if let Some(DeviceLost(text)) = error.downcast_ref() {
            let text = format!("{} no longer works ({text})", device_name(device));
            self.bar
                .print_line(&format!("egsde: {text}: its jobs go to other devices"));
            lock(&self.lost).push(text);
            return Ok(());
        }
        self.queue.stop();
        Err(error)
    }

    /// Runs one worker per device until every job has ended or no device is left.
    ///
    /// # Errors
    /// The first thing that ended the whole run: invalid input, or a signal.
    pub fn run(self, devices: &[Device]) -> Result<Outcome> {
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let spawn = |device: &Device| {
                let (pool, device) = (&self, *device);
                scope.spawn(move || pool.run_worker(device))
            };
            let workers: Vec<_> = devices.iter().map(spawn).collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined
                .map(|joined| joined.unwrap_or_else(|panic| Err(panic_error(panic.as_ref()))))
                .collect()
        });
        results.into_iter().collect::<Result<()>>()?;
        Ok(Outcome {
            ran: lock(&self.ran).clone(),
            failed: self.queue.failed(),
            lost: lock(&self.lost).clone(),
            left: self.queue.count_left(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::experiment::Experiment;
    use crate::config::overrides::Assignment;
    use crate::project::Project;
    use crate::store::scores::testing::scores;
    use std::path::Path;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering};

    const LOST: Device = Device::Cuda(0);
    const GOOD: Device = Device::Cuda(1);

    /// As tch panics with what libtorch says.
    const ILLEGAL_ACCESS: &str = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA \
        error: an illegal memory access was encountered\\nCUDA kernel errors might be \
        asynchronously reported at some other API call, so the stacktrace below might be \
        incorrect.\\nException raised from c10_cuda_check_implementation\\nframe #0: c10::Error\")";

    const EXECUTION_FAILED: &str = "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED";

    const EXPERIMENT: &str = "
name: w
title: W
task: cat2dog-32
seeds: [1, 2, 3, 4, 5]
pictures: 2
methods:
  - {name: SDEdit, method: sdedit, steps: 10, start: 0.4}
";

    fn plan(runs: &Path) -> Plan {
        let project = Project::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        let runs_dir = Assignment {
            typed: "--set runs_dir".into(),
            key: "runs_dir".into(),
            value: runs.display().to_string(),
        };
        let path = Path::new("w.yaml");
        let experiment = Experiment::parse(EXPERIMENT, path, &project, &[runs_dir]).unwrap();
        Plan::new(experiment, &project).unwrap()
    }

    /// Where the device [`LOST`] says so, and which job breaks on any device.
    #[derive(Clone, Copy, Default)]
    struct Faults {
        sampling: Option<&'static str>,
        scoring: Option<&'static str>,
        breaks_everywhere: Option<u64>,
    }

    /// Stages that compute nothing.
    struct FakeStages<'t> {
        device: Device,
        faults: Faults,
        /// Both devices have begun a job when they pass.
        both_began: &'t Barrier,
        began: AtomicBool,
        scored: &'t Mutex<Vec<(u64, Device)>>,
    }

    impl FakeStages<'_> {
        fn meet_fault(&self, job: &Job, fault: Option<&'static str>) -> Result<()> {
            if self.faults.breaks_everywhere == Some(job.identity.seed) {
                panic!("{ILLEGAL_ACCESS}");
            }
            match fault {
                Some(text) if self.device == LOST => Err(anyhow::Error::msg(text)),
                _ => Ok(()),
            }
        }
    }

    impl SampleJob for FakeStages<'_> {
        fn sample_first(&self, job: &Job, dir: &JobDir, _: usize) -> Result<Sampled> {
            self.sample(job, dir)
        }

        fn sample(&self, job: &Job, _: &JobDir) -> Result<Sampled> {
            if !self.began.swap(true, Ordering::SeqCst) {
                self.both_began.wait();
            }
            self.meet_fault(job, self.faults.sampling)?;
            Ok(Sampled {
                conditions: scores().sampling,
                images: 2,
                seconds: 1.0,
            })
        }
    }

    impl ScoreJob for FakeStages<'_> {
        fn score_first(&self, _: &JobDir, _: usize, _: Sampled) -> Result<Scores> {
            Ok(scores())
        }

        fn score(&self, job: &Job, _: &JobDir, _: Sampled) -> Result<()> {
            self.meet_fault(job, self.faults.scoring)?;
            lock(self.scored).push((job.identity.seed, self.device));
            Ok(())
        }
    }

    /// What became of five jobs, and which device scored each, by seed.
    fn run(devices: &[Device], faults: Faults) -> (Outcome, Vec<(u64, Device)>) {
        let runs = tempfile::tempdir().unwrap();
        let plan = plan(runs.path());
        let bar = RunProgress::new("w", 1);
        let (both_began, scored) = (Barrier::new(devices.len()), Mutex::default());
        let open = |device| {
            let fake = || FakeStages {
                device,
                faults,
                both_began: &both_began,
                began: AtomicBool::new(false),
                scored: &scored,
            };
            Ok(Stages {
                sampler: Box::new(fake()),
                scorer: Box::new(fake()),
            })
        };
        let work = plan.jobs.iter().map(Work::Whole).collect();
        let pool = WorkerPool::new(&plan, work, None, &bar, &open);
        let outcome = pool.run(devices).unwrap();
        let mut by_seed = lock(&scored).clone();
        by_seed.sort_by_key(|(seed, _)| *seed);
        (outcome, by_seed)
    }

    #[test]
    fn the_jobs_of_a_lost_gpu_go_to_the_other_one() {
        // Often, for the lost device may or may not take another job before it knows.
        for text in [ILLEGAL_ACCESS, EXECUTION_FAILED].repeat(10) {
            for faults in [
                Faults {
                    sampling: Some(text),
                    ..Faults::default()
                },
                Faults {
                    scoring: Some(text),
                    ..Faults::default()
                },
            ] {
                let (outcome, scored) = run(&[LOST, GOOD], faults);
                let every_job: Vec<_> = (1..=5).map(|seed| (seed, GOOD)).collect();
                assert_eq!(scored, every_job);
                assert_eq!((outcome.ran.len(), outcome.left), (5, 0));
                assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
                assert_eq!(outcome.lost.len(), 1);
                let text = &outcome.lost[0];
                assert!(text.starts_with("cuda:0 no longer works (") && !text.contains("frame"));
            }
        }
    }

    #[test]
    fn without_another_device_the_jobs_are_left_and_none_has_failed() {
        let faults = Faults {
            sampling: Some(ILLEGAL_ACCESS),
            ..Faults::default()
        };
        let (outcome, scored) = run(&[LOST], faults);
        assert!(scored.is_empty() && outcome.ran.is_empty() && outcome.failed.is_empty());
        assert_eq!(outcome.left, 5);
        assert_eq!(
            outcome.lost,
            ["cuda:0 no longer works (CUDA error: an illegal memory access was encountered)"]
        );
    }

    #[test]
    fn a_job_that_breaks_two_devices_has_failed_and_does_not_break_a_third() {
        let faults = Faults {
            breaks_everywhere: Some(1),
            ..Faults::default()
        };
        let (outcome, scored) = run(&[Device::Cuda(2), GOOD, Device::Cuda(3)], faults);
        assert_eq!((outcome.lost.len(), outcome.left), (2, 0));
        assert_eq!(outcome.failed.len(), 1);
        let seeds: Vec<u64> = scored.iter().map(|(seed, _)| *seed).collect();
        assert_eq!(seeds, [2, 3, 4, 5]);
    }

    #[test]
    fn another_error_fails_its_job_and_keeps_the_device() {
        let faults = Faults {
            sampling: Some("the translation of cat-00001 is not finite"),
            ..Faults::default()
        };
        let (outcome, scored) = run(&[LOST], faults);
        assert!(scored.is_empty() && outcome.lost.is_empty());
        assert_eq!((outcome.failed.len(), outcome.left), (5, 0));
    }
}
