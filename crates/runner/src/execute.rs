//! Runs one job after another on one device: pictures, scores, what they were made with.

use crate::error::{Problem, UserError};
use crate::interrupt;
use crate::judge::{Judge, Judged};
use crate::ledger::Ledger;
use crate::measured::Measured;
use crate::plan::{Job, Plan};
use crate::progress::Progress;
use crate::store::{Conditions, JobFolder, Scores, peak_memory_bytes, pictures_hash};
use crate::workbench::Workbench;
use anyhow::{Context, Result};
use egsde_metrics::pictures::Pictures;
use egsde_models::network::seconds_in_networks;
use egsde_sampler::method::Method;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tch::Device;

/// What a device works with. All devices of a run share the bar.
pub struct Runner<'a> {
    plan: &'a Plan,
    bench: Workbench,
    judge: Judge,
    device: Device,
    batch_size: usize,
    bar: &'a Mutex<Progress>,
}

/// A lock that a panicking thread left behind is still good: the bar and the queues hold no half-done state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After a signal: nothing more is begun.
pub(crate) fn stop_if_asked(plan: &Plan, state: impl FnOnce() -> String) -> Result<()> {
    match interrupt::requested() {
        None => Ok(()),
        Some(code) => {
            let text = format!(
                "interrupted: {}; the same command goes on from there ({})",
                state(),
                plan.folder.display()
            );
            Err(Problem::Interrupted { text, code }.into())
        }
    }
}

/// Encodes and writes each batch that `sample` hands over while it makes the next; what was handed over is written even when
/// `sample` ends early.
fn written_aside(
    folder: &JobFolder,
    ledger: &mut Ledger,
    sample: impl FnOnce(&mut dyn FnMut(Pictures) -> Result<()>) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        // No buffer: a killed process loses no more than the batch being written and the one being made.
        let (sender, batches) = sync_channel::<Pictures>(0);
        let writer = scope.spawn(move || {
            batches
                .iter()
                .try_for_each(|made| folder.write_images(ledger, &made))
        });
        let sampled = sample(&mut |made| {
            sender
                .send(made)
                .context("the writer of pictures has ended")
        });
        drop(sender);
        // The writer's error comes first: it is why nothing more could be handed over.
        writer
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
            .user("cannot write results")?;
        sampled
    })
}

impl<'a> Runner<'a> {
    /// Loads networks, pictures and reference statistics onto a device and checks that they can do the jobs.
    pub fn open(
        plan: &'a Plan,
        root: &Path,
        device: Device,
        batch_size: usize,
        bar: &'a Mutex<Progress>,
    ) -> Result<Self> {
        let bench = Workbench::open(plan, root, device)?;
        bench.check(plan.jobs.iter())?;
        let judge = Judge::of_plan(plan, root, device)?;
        Ok(Self {
            plan,
            bench,
            judge,
            device,
            batch_size,
            bar,
        })
    }

    /// An external method's pictures must be there, readable and as large as the sources.
    fn check_external(&self, job: &Job, folder: &JobFolder) -> Result<()> {
        let Some(images) = &job.images else {
            return Ok(());
        };
        let side = self.plan.task.image_size;
        let ledger = folder.ledger();
        let bad: Vec<&String> = self
            .bench
            .source
            .names
            .iter()
            .filter(|n| folder.read_image(&ledger, n, side).is_none())
            .collect();
        match bad.first() {
            None => Ok(()),
            Some(first) => Err(Problem::user(format!(
                "row {:?}: {} of {} sources have no readable {side} x {side} translation in {}, first {first}",
                job.row,
                bad.len(),
                self.bench.source.len(),
                images.display()
            ))),
        }
    }

    /// Makes the pictures that are not there yet; returns how many and the seconds it took.
    fn sample(&self, job: &Job, folder: &JobFolder) -> Result<(usize, f64)> {
        let (names, side) = (&self.bench.source.names, self.plan.task.image_size);
        let mut ledger = folder.ledger();
        let missing: Vec<usize> = (0..names.len())
            .filter(|i| folder.read_image(&ledger, &names[*i], side).is_none())
            .collect();
        let each = job.identity.settings.evaluations().diffusion as u64;
        lock(self.bar).skip(each * (names.len() - missing.len()) as u64);
        let began = Instant::now();
        let translate = |method: &dyn Method, keep: &mut dyn FnMut(Pictures) -> Result<()>| {
            for (at, indices) in missing.chunks(self.batch_size).enumerate() {
                let done = names.len() - missing.len() + at * self.batch_size;
                stop_if_asked(self.plan, || {
                    format!("{done} of {} pictures of {} are kept", names.len(), job.id)
                })?;
                let group = self.bench.group();
                let made = self.bench.translate(job, method, indices, &mut |count| {
                    lock(self.bar).add(count, &job.id)
                })?;
                self.say_if_halved(job, group);
                keep(made)?;
            }
            Ok(())
        };
        self.bench.with_method(&job.identity.settings, |method| {
            written_aside(folder, &mut ledger, |keep| translate(method, keep))
        })?;
        Ok((missing.len(), began.elapsed().as_secs_f64()))
    }

    fn say_if_halved(&self, job: &Job, before: usize) {
        let now = self.bench.group();
        if now < before {
            let text = format!(
                "job {}: {:?} has no memory for {before} pictures at once, goes on with {now}",
                job.id, self.device
            );
            lock(self.bar).say(&text);
        }
    }

    /// One job, from wherever it stands to its scores.
    pub fn run(&self, job: &Job, folder: &JobFolder) -> Result<()> {
        folder.begin(job).user("cannot write results")?;
        self.check_external(job, folder)?;
        let before = seconds_in_networks();
        let (sampled_pictures, sampling_seconds) = self.sample(job, folder)?;
        let network_seconds = seconds_in_networks() - before;
        let source = &self.bench.source;
        let translated = folder.read_all(&source.names, self.plan.task.image_size)?;
        let files: Vec<PathBuf> = source.names.iter().map(|n| folder.image(n)).collect();
        let began = Instant::now();
        let Judged { metrics, evidence } = self.judge.score(source, &files, &translated)?;
        let scoring_seconds = began.elapsed().as_secs_f64();
        let evidence_sha256 = folder
            .keep_evidence(&evidence)
            .user("cannot write results")?;
        let device = format!("{:?}", self.device);
        let conditions = Conditions {
            device: device.clone(),
            threads: tch::get_num_threads() as usize,
            batch_size: self.batch_size,
            group: self.bench.group(),
            libtorch: env!("EGSDE_LIBTORCH").into(),
            own_kernels: egsde_models::own_kernels_take_part(
                self.device,
                self.plan.spec.precision.kind(),
            ),
            code: crate::CODE.into(),
            sampling_seconds,
            sampled_pictures,
            network_seconds,
            scoring_seconds,
            peak_memory_bytes: peak_memory_bytes(),
        };
        folder
            .finish(&Scores {
                metrics,
                pictures: source.len(),
                images_sha256: pictures_hash(&translated),
                evidence_sha256,
                conditions,
            })
            .user("cannot write results")?;
        Measured::add(self.plan, job, &device, sampled_pictures, sampling_seconds)
            .user("cannot write results")
    }
}
