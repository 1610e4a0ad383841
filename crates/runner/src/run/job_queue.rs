//! The jobs of a run that have not ended. Each is taken by one worker and ends, or comes back.

use super::device_loss::{DeviceLost, catch_into_error, lost_if_device_lost};
use super::run_progress::RunProgress;
use crate::error::{ends_the_run, one_line};
use crate::plan::Job;
use crate::store::job_dir::JobLock;
use anyhow::Result;
use egsde_data::lock::lock;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use tch::Device;

/// How long a worker waits before it looks again at jobs that another process holds.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// What a worker does with a job.
#[derive(Clone, Copy)]
pub enum Work<'a> {
    /// It makes and scores the first images.
    Preview(&'a Job),
    /// It makes and scores all that is missing.
    Whole(&'a Job),
}

impl<'a> Work<'a> {
    fn job(self) -> &'a Job {
        match self {
            Self::Preview(job) | Self::Whole(job) => job,
        }
    }
}

/// Where the jobs are.
#[derive(Default)]
struct Places<'a> {
    waiting: VecDeque<Work<'a>>,
    /// Those that another process works on.
    held: VecDeque<&'a Job>,
    /// How many the workers of this process have taken.
    in_flight: usize,
    /// Those that came back from a lost GPU, by id, and which it was. Its sampling thread may take
    /// a job once more before it learns of the loss.
    returned: BTreeMap<&'a str, Device>,
}

/// The jobs of this process that have not ended.
pub(super) struct JobQueue<'a> {
    /// The experiment's name, for people.
    name: &'a str,
    bar: &'a RunProgress,
    places: Mutex<Places<'a>>,
    /// Notified when a job ends or comes back.
    changed: Condvar,
    failed: Mutex<Vec<String>>,
    /// Set once something ends the whole run: no worker begins another job.
    stopped: AtomicBool,
    reported_waiting: AtomicBool,
}

/// Work that a worker has taken. Unless it is ended, it goes back into the queue.
pub(super) struct TakenJob<'q, 'a> {
    queue: &'q JobQueue<'a>,
    device: Device,
    /// What to do.
    pub work: Work<'a>,
    /// The job to do it with.
    pub job: &'a Job,
    /// Keeps other processes from the job while this one works on it.
    pub lock: Option<JobLock>,
    has_ended: bool,
}

impl TakenJob<'_, '_> {
    /// The job is done, has failed, or was done by another process.
    pub fn end(mut self) {
        self.mark_ended();
    }

    fn mark_ended(&mut self) {
        if self.has_ended {
            return;
        }
        self.lock = None;
        self.has_ended = true;
        lock(&self.queue.places).in_flight -= 1;
        self.queue.changed.notify_all();
    }

    /// Another process works on it.
    pub fn hold(mut self) {
        self.has_ended = true;
        let mut places = lock(&self.queue.places);
        places.in_flight -= 1;
        places.held.push_back(self.job);
        self.queue.changed.notify_all();
    }

    /// One stage of the job; none when it failed, which ends this job and no other.
    ///
    /// # Errors
    /// What all jobs would meet, and the loss of the GPU.
    pub fn attempt<T>(&mut self, stage: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        let error = match catch_into_error(stage) {
            Ok(done) => return Ok(Some(done)),
            Err(error) if ends_the_run(&error) => return Err(error),
            Err(error) => lost_if_device_lost(error),
        };
        if error.is::<DeviceLost>() {
            return Err(error);
        }
        // What breaks in a preview breaks again, and is reported, when the whole job is run.
        if let Work::Whole(job) = self.work {
            self.queue.fail(&job.id, &format!("{error:#}"));
        }
        self.mark_ended();
        Ok(None)
    }
}

impl Drop for TakenJob<'_, '_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.lock = None;
        let is_second_time = {
            let mut places = lock(&self.queue.places);
            places.in_flight -= 1;
            let first = *places.returned.entry(&self.job.id).or_insert(self.device);
            let is_second_time = first != self.device;
            if !is_second_time {
                places.waiting.push_front(self.work);
            }
            is_second_time
        };
        // It may be the job itself that breaks the devices.
        if is_second_time {
            self.queue
                .fail(&self.job.id, "two devices were lost with it");
        }
        self.queue.changed.notify_all();
    }
}

impl<'a> JobQueue<'a> {
    /// A queue of `work` on jobs of the experiment `name`. What fails is told beside `bar`.
    pub fn new(name: &'a str, work: VecDeque<Work<'a>>, bar: &'a RunProgress) -> Self {
        Self {
            name,
            bar,
            places: Mutex::new(Places {
                waiting: work,
                ..Places::default()
            }),
            changed: Condvar::new(),
            failed: Mutex::default(),
            stopped: AtomicBool::new(false),
            reported_waiting: AtomicBool::new(false),
        }
    }

    fn fail(&self, id: &str, text: &str) {
        let reason = one_line(text);
        self.bar
            .print_line(&format!("egsde: job {id} failed: {reason}"));
        lock(&self.failed).push(id.into());
    }

    /// No worker begins another job.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    fn report_waiting(&self, count: usize) {
        if !self.reported_waiting.swap(true, Ordering::SeqCst) {
            self.bar.print_line(&format!(
                "{}: waiting for {count} jobs that another process works on",
                self.name
            ));
        }
    }

    /// The next job for a device; when only held ones are left, one of those after a wait. None
    /// once every job has ended: until then one may come back from a lost GPU.
    pub fn next_job(&self, device: Device) -> Option<TakenJob<'_, 'a>> {
        let mut places = lock(&self.places);
        let mut waited = false;
        loop {
            if self.stopped.load(Ordering::SeqCst) {
                return None;
            }
            let mut next = places.waiting.pop_front();
            if next.is_none() && waited {
                next = places.held.pop_front().map(Work::Whole);
            }
            if let Some(work) = next {
                places.in_flight += 1;
                return Some(TakenJob {
                    queue: self,
                    device,
                    work,
                    job: work.job(),
                    lock: None,
                    has_ended: false,
                });
            }
            if places.held.is_empty() && places.in_flight == 0 {
                return None;
            }
            if !places.held.is_empty() {
                self.report_waiting(places.held.len());
            }
            let (after, timeout) = self
                .changed
                .wait_timeout(places, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner);
            places = after;
            waited = timeout.timed_out();
        }
    }

    /// Jobs that failed, by id.
    pub fn failed(&self) -> Vec<String> {
        lock(&self.failed).clone()
    }

    /// How many jobs wait for a worker, or for another process that holds them.
    pub fn count_left(&self) -> usize {
        let places = lock(&self.places);
        places.waiting.len() + places.held.len()
    }
}
