//! Runs one job after another on one device: images, scores, what they were made with.

use super::pipeline::Pipeline;
use super::run_progress::RunProgress;
use crate::error::{Interrupted, OrInvalidInput, invalid_input};
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::runtime::device::device_name;
use crate::runtime::machine::processor;
use crate::runtime::signal;
use crate::scoring::{Evaluation, Evaluator};
use crate::store::checksums::Checksums;
use crate::store::job_dir::{JobDir, pixels_sha256};
use crate::store::per_image::PerImage;
use crate::store::scores::{SamplingConditions, Scores, ScoringConditions, peak_memory_bytes};
use crate::store::timings::Timings;
use anyhow::{Context, Result};
use egsde_data::image_set::ImageSet;
use egsde_models::networks::seconds_in_networks;
use egsde_sampler::method::Method;
use std::cell::OnceCell;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Instant;
use tch::Device;

/// What one device works with. All devices of a run share the bar.
pub struct JobRunner<'a> {
    plan: &'a Plan,
    project: &'a Project,
    source: ImageSet,
    /// Opened by the first job that samples.
    pipeline: OnceCell<Pipeline>,
    evaluator: Evaluator,
    device: Device,
    save_every: usize,
    bar: &'a RunProgress,
}

/// Ends the work after a signal; `state` tells what is kept.
pub(crate) fn stop_if_signalled(plan: &Plan, state: impl FnOnce() -> String) -> Result<()> {
    let Some(code) = signal::requested() else {
        return Ok(());
    };
    let folder = plan.folder.display();
    let text = format!(
        "interrupted: {}; the same command goes on from there ({folder})",
        state()
    );
    Err(Interrupted { text, code }.into())
}

/// Encodes and writes each set of images that `sample` hands over while it makes the next. What was
/// handed over is written even when `sample` ends early.
fn write_beside_sampling(
    dir: &JobDir,
    checksums: &mut Checksums,
    sample: impl FnOnce(&mut dyn FnMut(ImageSet) -> Result<()>) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        // No buffer: a killed process loses no more than the set being written and the one being
        // made.
        let (sender, sets) = sync_channel::<ImageSet>(0);
        let writer = scope.spawn(move || {
            for images in sets {
                dir.write_images(checksums, &images)?;
            }
            Ok::<(), anyhow::Error>(())
        });
        let sampled = sample(&mut |images| {
            sender
                .send(images)
                .context("the writer of images has ended")
        });
        drop(sender);
        // The writer's error comes first: it is why nothing more could be handed over.
        let written = writer.join().unwrap_or_else(|panic| resume_unwind(panic));
        written.or_invalid_input("cannot write results")?;
        sampled
    })
}

/// What sampling a job took in this process.
#[derive(Default)]
struct Sampled {
    images: usize,
    seconds: f64,
    network_seconds: f64,
}

impl<'a> JobRunner<'a> {
    /// Opens source images and evaluator and checks that they can do the jobs.
    ///
    /// # Errors
    /// Invalid input: something is missing, another file, or too few.
    pub fn open(
        plan: &'a Plan,
        project: &'a Project,
        device: Device,
        save_every: usize,
        bar: &'a RunProgress,
    ) -> Result<Self> {
        plan.experiment
            .precision
            .prepare(device)
            .map_err(invalid_input)?;
        let (task, wanted) = (&plan.task, plan.experiment.pictures);
        let source = task.source.load(project, task.image_size, wanted)?;
        if source.len() < wanted {
            return Err(invalid_input(format!(
                "pictures is {wanted}, but {} has only {}",
                task.source.domain,
                source.len()
            )));
        }
        let evaluator = Evaluator::open(plan, project, device)?;
        let pipeline = OnceCell::new();
        Ok(Self {
            plan,
            project,
            source,
            pipeline,
            evaluator,
            device,
            save_every,
            bar,
        })
    }

    fn pipeline(&self) -> Result<&Pipeline> {
        if self.pipeline.get().is_none() {
            let count = self.source.len();
            let opened = Pipeline::open(self.plan, self.project, self.device, count);
            // Every other job would meet the same.
            let _ = self.pipeline.set(opened.or_invalid_input("networks")?);
        }
        self.pipeline.get().context("the pipeline was just opened")
    }

    /// An external method's images must be there, readable and as large as the sources.
    fn check_external(&self, job: &Job, dir: &JobDir) -> Result<()> {
        let Some(images) = &job.external_images else {
            return Ok(());
        };
        let side = self.plan.task.image_size;
        let checksums = dir.checksums();
        let names = self.source.names.iter();
        let bad: Vec<&String> = names
            .filter(|name| dir.read_image(&checksums, name, side).is_none())
            .collect();
        match bad.first() {
            None => Ok(()),
            Some(first) => Err(invalid_input(format!(
                "row {:?}: {} of {} sources have no readable {side} x {side} translation in {}, \
                 first {first}",
                job.row,
                bad.len(),
                self.source.len(),
                images.display()
            ))),
        }
    }

    /// Those of the first `wanted` sources whose translations are not there yet, by index.
    fn missing_images(&self, dir: &JobDir, checksums: &Checksums, wanted: usize) -> Vec<usize> {
        let side = self.plan.task.image_size;
        let names = self.source.names.iter().take(wanted).enumerate();
        let missing = names.filter(|(_, name)| dir.read_image(checksums, name, side).is_none());
        missing.map(|(i, _)| i).collect()
    }

    /// Makes those of the first `wanted` images that are not there yet.
    fn sample(&self, job: &Job, dir: &JobDir, wanted: usize) -> Result<Sampled> {
        let mut checksums = dir.checksums();
        let missing = self.missing_images(dir, &checksums, wanted);
        self.bar.skip_to(job, wanted - missing.len());
        if missing.is_empty() {
            return Ok(Sampled::default());
        }
        let pipeline = self.pipeline()?;
        let (began, before) = (Instant::now(), seconds_in_networks());
        let method = pipeline.method(&job.identity.settings)?;
        write_beside_sampling(dir, &mut checksums, |keep| {
            let mut done = wanted - missing.len();
            for indices in missing.chunks(self.save_every) {
                stop_if_signalled(self.plan, || {
                    let total = self.source.len();
                    format!("{done} of {total} pictures of {} are kept", job.id)
                })?;
                keep(self.translate(pipeline, job, method.as_ref(), indices)?)?;
                done += indices.len();
            }
            Ok(())
        })?;
        self.bar.note_shown(job, wanted);
        Ok(Sampled {
            images: missing.len(),
            seconds: began.elapsed().as_secs_f64(),
            network_seconds: seconds_in_networks() - before,
        })
    }

    fn translate(
        &self,
        pipeline: &Pipeline,
        job: &Job,
        method: &dyn Method,
        indices: &[usize],
    ) -> Result<ImageSet> {
        let before = pipeline.batch_size();
        let mut count_step = |images| self.bar.add_step(job, images);
        let images = pipeline.translate(job, method, &self.source, indices, &mut count_step)?;
        self.report_smaller_batch(job, before, pipeline.batch_size());
        Ok(images)
    }

    fn report_smaller_batch(&self, job: &Job, before: usize, now: usize) {
        if now < before {
            self.bar.print_line(&format!(
                "job {}: {} has no memory for batches of {before}, goes on with {now}",
                job.id,
                device_name(self.device)
            ));
        }
    }

    /// The batch that the networks see.
    fn batch_size(&self) -> usize {
        let planned = self.plan.experiment.batch_size.min(self.source.len());
        self.pipeline.get().map_or(planned, Pipeline::batch_size)
    }

    fn sampling_conditions(&self, sampled: &Sampled) -> SamplingConditions {
        let kind = self.plan.experiment.precision.kind();
        SamplingConditions {
            code: crate::CODE.into(),
            device: device_name(self.device),
            processor: Some(processor(self.device)),
            libtorch: env!("EGSDE_LIBTORCH").into(),
            threads: tch::get_num_threads() as usize,
            own_kernels: egsde_models::kernels_in_use(self.device, kind),
            save_every: self.save_every,
            batch_size: self.batch_size(),
            images: sampled.images,
            seconds: sampled.seconds,
            network_seconds: sampled.network_seconds,
            peak_memory_bytes: peak_memory_bytes(),
        }
    }

    /// Runs one job, from wherever it stands to its scores.
    ///
    /// # Errors
    /// Invalid input that other jobs would meet too, a signal, or what broke in this job.
    pub fn run(&self, job: &Job, dir: &JobDir) -> Result<()> {
        // Images that were scored before keep the conditions under which they were made.
        let earlier = dir.scores().map(|scores| scores.sampling);
        dir.begin(job).or_invalid_input("cannot write results")?;
        self.check_external(job, dir)?;
        let sampled = self.sample(job, dir, self.source.len())?;
        let sampling = match earlier {
            Some(earlier) if sampled.images == 0 => earlier,
            _ => self.sampling_conditions(&sampled),
        };
        self.score(dir, sampling)?;
        let device = device_name(self.device);
        let kept = Timings::add(self.plan, job, &device, sampled.images, sampled.seconds);
        // The job is done; only the next plan's estimate lacks this time.
        if let Err(error) = kept {
            self.bar
                .print_line(&format!("cannot keep how long it took: {error:#}"));
        }
        Ok(())
    }

    /// Makes the first `count` images of a job that are not there yet, and scores these alone. The
    /// job goes on with the others; the scores are kept nowhere.
    ///
    /// # Errors
    /// As [`JobRunner::run`].
    pub fn preview(&self, job: &Job, dir: &JobDir, count: usize) -> Result<Scores> {
        dir.begin(job).or_invalid_input("cannot write results")?;
        self.check_external(job, dir)?;
        let sampled = match job.external_images {
            Some(_) => Sampled::default(),
            None => self.sample(job, dir, count)?,
        };
        let (scores, _) = self.evaluate(dir, count, self.sampling_conditions(&sampled))?;
        Ok(scores)
    }

    /// Scores of the first `count` images that lie in a job's folder, with the hash of the
    /// per-image values left open, and these values.
    fn evaluate(
        &self,
        dir: &JobDir,
        count: usize,
        sampling: SamplingConditions,
    ) -> Result<(Scores, PerImage)> {
        let source = self.source.first(count);
        let translated = dir.read_all(&source.names, self.plan.task.image_size)?;
        let names = source.names.iter();
        let files: Vec<PathBuf> = names.map(|name| dir.image(name)).collect();
        let began = Instant::now();
        let evaluated = self.evaluator.evaluate(&source, &files, &translated)?;
        let seconds = began.elapsed().as_secs_f64();
        let Evaluation { metrics, per_image } = evaluated;
        let scores = Scores {
            metrics,
            images: source.len(),
            images_sha256: pixels_sha256(&translated),
            per_image_sha256: String::new(),
            sampling,
            scoring: ScoringConditions {
                identity: self.plan.scoring.clone(),
                code: crate::CODE.into(),
                device: device_name(self.device),
                seconds,
            },
        };
        Ok((scores, per_image))
    }

    /// Scores the images that lie in a job's folder, which ends the job.
    fn score(&self, dir: &JobDir, sampling: SamplingConditions) -> Result<()> {
        let (mut scores, per_image) = self.evaluate(dir, self.source.len(), sampling)?;
        scores.per_image_sha256 = dir
            .write_per_image(&per_image)
            .or_invalid_input("cannot write results")?;
        dir.finish(&scores).or_invalid_input("cannot write results")
    }
}
