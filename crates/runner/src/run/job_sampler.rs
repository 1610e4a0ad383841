//! Makes the images of jobs on one device, one job after another.

use super::job_scorer::ScoringTurn;
use super::pipeline::Pipeline;
use super::run_progress::RunProgress;
use super::workers::{SampleJob, Sampled, stop_if_signalled};
use crate::error::OrInvalidInput;
use crate::plan::checks::check_none_missing;
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::runtime::device::device_name;
use crate::runtime::machine::processor;
use crate::store::checksums::Checksums;
use crate::store::job_dir::{CANNOT_WRITE_RESULTS, JobDir};
use crate::store::scores::{GpuConditions, SamplingConditions, peak_memory_bytes};
use anyhow::{Context, Result};
use egsde_data::image_set::ImageSet;
use egsde_data::resize::Filter;
use egsde_models::cuda::takes_fused_kernels;
use egsde_models::kernels_in_use;
use egsde_models::networks::seconds_in_networks;
use egsde_sampler::method::Method;
use rayon::prelude::*;
use std::cell::OnceCell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;
use tch::Device;

/// What one device samples with. All devices of a run share the bar.
pub struct JobSampler<'a> {
    plan: &'a Plan,
    project: &'a Project,
    source: Arc<ImageSet>,
    /// The sources as StarGAN v2 resizes them, read by the first job that needs them.
    bilinear: OnceCell<ImageSet>,
    /// Opened by the first job that samples.
    pipeline: OnceCell<Pipeline>,
    device: Device,
    save_every: usize,
    scoring: ScoringTurn,
    bar: &'a RunProgress,
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
        written.or_invalid_input(CANNOT_WRITE_RESULTS)?;
        sampled
    })
}

/// What sampling a job took in this process.
#[derive(Default)]
struct SamplingCost {
    images: usize,
    seconds: f64,
    network_seconds: f64,
    gpu: Option<GpuConditions>,
}

impl<'a> JobSampler<'a> {
    /// A sampler of translations of `source`, with `scoring` held while the device scores. Networks
    /// are opened when an image is missing.
    pub fn new(
        plan: &'a Plan,
        project: &'a Project,
        device: Device,
        source: Arc<ImageSet>,
        save_every: usize,
        scoring: ScoringTurn,
        bar: &'a RunProgress,
    ) -> Self {
        Self {
            plan,
            project,
            source,
            bilinear: OnceCell::new(),
            pipeline: OnceCell::new(),
            device,
            save_every,
            scoring,
            bar,
        }
    }

    fn pipeline(&self) -> Result<&Pipeline> {
        if self.pipeline.get().is_none() {
            let count = self.source.len();
            let turn = self.scoring.clone();
            let opened = Pipeline::open(self.plan, self.project, self.device, count, turn);
            // Every other job would meet the same.
            let _ = self.pipeline.set(opened.or_invalid_input("networks")?);
        }
        self.pipeline.get().context("the pipeline was just opened")
    }

    /// The sources as a job's method resizes them.
    fn source_of(&self, job: &Job) -> Result<&ImageSet> {
        let filter = job.resize_filter();
        if filter == Filter::Bicubic {
            return Ok(&self.source);
        }
        if self.bilinear.get().is_none() {
            let task = &self.plan.task;
            let (side, count) = (task.image_size, self.source.len());
            let source = task.source.load_with(self.project, side, count, filter)?;
            let _ = self.bilinear.set(source);
        }
        self.bilinear.get().context("the sources were just read")
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
        check_none_missing(job, images, &bad, self.source.len())
    }

    /// Those of the first `wanted` sources whose translations are not there yet, by index; found on
    /// all cores.
    fn missing_images(&self, dir: &JobDir, checksums: &Checksums, wanted: usize) -> Vec<usize> {
        let side = self.plan.task.image_size;
        let names = self.source.names.par_iter().take(wanted).enumerate();
        let missing = names.filter(|(_, name)| dir.read_image(checksums, name, side).is_none());
        missing.map(|(i, _)| i).collect()
    }

    /// Makes those of the first `wanted` images that are not there yet.
    fn make_images(&self, job: &Job, dir: &JobDir, wanted: usize) -> Result<SamplingCost> {
        let mut checksums = dir.checksums();
        let missing = self.missing_images(dir, &checksums, wanted);
        self.bar.skip_to(job, wanted - missing.len());
        if missing.is_empty() {
            return Ok(SamplingCost::default());
        }
        let pipeline = self.pipeline()?;
        let (began, before) = (Instant::now(), seconds_in_networks());
        let _ = GpuConditions::take(self.device);
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
        Ok(SamplingCost {
            images: missing.len(),
            seconds: began.elapsed().as_secs_f64(),
            network_seconds: seconds_in_networks() - before,
            gpu: GpuConditions::take(self.device),
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
        let source = self.source_of(job)?;
        let images = pipeline.translate(job, method, source, indices, &mut count_step)?;
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

    fn conditions(&self, spent: &SamplingCost) -> SamplingConditions {
        let kind = self.plan.experiment.precision.kind();
        SamplingConditions {
            code: crate::CODE.into(),
            device: device_name(self.device),
            processor: Some(processor(self.device)),
            libtorch: env!("EGSDE_LIBTORCH").into(),
            threads: tch::get_num_threads() as usize,
            own_kernels: kernels_in_use(self.device, kind)
                || takes_fused_kernels(self.device, kind),
            save_every: self.save_every,
            batch_size: self.batch_size(),
            images: spent.images,
            seconds: spent.seconds,
            network_seconds: spent.network_seconds,
            peak_memory_bytes: peak_memory_bytes(),
            gpu: spent.gpu.clone(),
        }
    }

    fn sampled(&self, spent: &SamplingCost, earlier: Option<SamplingConditions>) -> Sampled {
        let conditions = match earlier {
            Some(earlier) if spent.images == 0 => earlier,
            _ => self.conditions(spent),
        };
        Sampled {
            conditions,
            images: spent.images,
            seconds: spent.seconds,
        }
    }
}

impl SampleJob for JobSampler<'_> {
    fn sample(&self, job: &Job, dir: &JobDir) -> Result<Sampled> {
        // Images that were scored before keep the conditions under which they were made.
        let earlier = dir.scores().map(|scores| scores.sampling);
        dir.begin(job).or_invalid_input(CANNOT_WRITE_RESULTS)?;
        self.check_external(job, dir)?;
        let spent = self.make_images(job, dir, self.source.len())?;
        Ok(self.sampled(&spent, earlier))
    }

    fn sample_first(&self, job: &Job, dir: &JobDir, count: usize) -> Result<Sampled> {
        dir.begin(job).or_invalid_input(CANNOT_WRITE_RESULTS)?;
        self.check_external(job, dir)?;
        let spent = match job.external_images {
            Some(_) => SamplingCost::default(),
            None => self.make_images(job, dir, count)?,
        };
        Ok(self.sampled(&spent, None))
    }
}
