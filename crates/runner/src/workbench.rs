//! Networks and source pictures of a task, loaded once for all jobs, and the translation of pictures with them.

use crate::error::Problem;
use crate::experts;
use crate::memory::{OutOfMemory, within_memory};
use crate::plan::{Job, Plan, Settings};
use crate::spec::MethodKind;
use crate::task::Task;
use anyhow::{Result, bail};
use egsde_metrics::pictures::Pictures;
use egsde_models::{AdmUnet, DdpmUnet, Dse, Loaded, NetworkConfig};
use egsde_sampler::energy::SourceFeatures;
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, IlvrVariance, Method, Predictor, Untranslated};
use egsde_sampler::noise::PictureNoise;
use egsde_sampler::schedule::{Schedule, space_timesteps};
use egsde_sampler::watch::{Broken, Watch};
use std::cell::Cell;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Bytes of source features that rows share.
const SOURCE_FEATURES: usize = 256 << 20;

/// Rows of a plan that ask for the source's features.
fn askers(plan: &Plan) -> usize {
    let asks = |job: &&Job| {
        job.identity
            .settings
            .experts
            .iter()
            .any(|e| e.needs_source_features())
    };
    let seeds = plan.spec.seeds.len().max(1);
    plan.jobs.iter().filter(asks).count() / seeds
}

/// A noise predictor of either family.
enum Diffusion {
    Adm(Box<Loaded<AdmUnet>>),
    Ddpm(Box<Loaded<DdpmUnet>>),
}

impl Diffusion {
    fn open(task: &Task, root: &Path, device: Device, kind: Kind) -> Result<Self> {
        match task.diffusion.config(root)? {
            NetworkConfig::DdpmUnet(_) => Ok(Self::Ddpm(Box::new(
                task.diffusion.open(root, device, kind)?,
            ))),
            _ => Ok(Self::Adm(Box::new(
                task.diffusion.open(root, device, kind)?,
            ))),
        }
    }

    fn learns_sigma(&self) -> bool {
        match self {
            Self::Adm(network) => network
                .vs
                .variables()
                .get("out.2.bias")
                .is_some_and(|b| b.size() == [6]),
            Self::Ddpm(_) => false,
        }
    }
}

impl Predictor for Diffusion {
    fn predict(&self, y: &Tensor, t: f64) -> Tensor {
        match self {
            Self::Adm(network) => network.predict(y, t),
            Self::Ddpm(network) => network.predict(y, t),
        }
    }
}

/// See the module.
pub struct Workbench {
    task: Task,
    /// The pictures to translate.
    pub source: Pictures,
    diffusion: Diffusion,
    extractor: Loaded<Dse>,
    /// The source's features for rows that share noise and start; none when there is one such row.
    source_features: Option<SourceFeatures>,
    device: Device,
    /// The networks always see this many pictures at once (a last group is padded): libtorch's convolutions and matrix
    /// products round differently for different batch shapes, so a free batch size would move the results.
    group: Cell<usize>,
}

impl Workbench {
    /// Loads and verifies everything a plan's jobs need.
    pub fn open(plan: &Plan, root: &Path, device: Device) -> Result<Self> {
        let (task, spec) = (plan.task.clone(), &plan.spec);
        spec.precision.prepare(device).map_err(Problem::user)?;
        let kind = spec.precision.kind();
        let source = task.source.load(root, task.image_size, spec.pictures)?;
        if source.len() < spec.pictures {
            return Err(Problem::user(format!(
                "pictures is {}, but {} has only {}",
                spec.pictures,
                task.source.domain,
                source.len()
            )));
        }
        let diffusion = Diffusion::open(&task, root, device, kind)?;
        let extractor = task.extractor.open(root, device, kind)?;
        let source_features = (askers(plan) > 1).then(|| SourceFeatures::new(SOURCE_FEATURES));
        Ok(Self {
            group: Cell::new(spec.group.min(source.len())),
            source,
            diffusion,
            extractor,
            source_features,
            task,
            device,
        })
    }

    /// Settings that these networks cannot do, before anything runs.
    pub fn check<'a>(&self, mut jobs: impl Iterator<Item = &'a Job>) -> Result<()> {
        let needs_sigma = |s: &Settings| {
            s.method == MethodKind::Ilvr && s.ilvr_variance == IlvrVariance::LearnedRange
        };
        match jobs.find(|job| needs_sigma(&job.identity.settings)) {
            Some(job) if !self.diffusion.learns_sigma() => {
                let text = "ilvr_variance is learned_range, but this network learned no sigma: set ilvr_variance to fixedsmall";
                Err(Problem::user(format!("row {:?}: {text}", job.row)))
            }
            _ => Ok(()),
        }
    }

    /// Calls `with` on the method of a job's settings.
    pub fn with_method<T>(
        &self,
        s: &Settings,
        with: impl FnOnce(&dyn Method) -> Result<T>,
    ) -> Result<T> {
        let timesteps = space_timesteps(1000, s.steps)?;
        match s.method {
            MethodKind::Source | MethodKind::External => with(&Untranslated),
            MethodKind::Ilvr => with(&Ilvr {
                diffusion: &self.diffusion,
                low_pass: &LowPass::new(
                    self.task.image_size,
                    s.low_pass_factor,
                    Kernel::Cubic,
                    self.device,
                )?,
                schedule: Schedule::ddpm().respaced(&timesteps),
                range_t: s.range_t,
                variance: s.ilvr_variance,
                clip_denoised: true,
            }),
            MethodKind::Egsde | MethodKind::Sdedit => {
                let filters = experts::filters(&s.experts, self.task.image_size, self.device)?;
                with(&Egsde {
                    diffusion: &self.diffusion,
                    energy: experts::energy(
                        &s.experts,
                        &filters,
                        &self.extractor,
                        self.source_features.as_ref(),
                    ),
                    schedule: Schedule::ddpm().in_float32().respaced(&timesteps),
                    start_steps: s.start_steps,
                    solver: s.solver,
                    eta: s.eta.unwrap_or(0.0),
                    variance: s.variance,
                    source_noise: s.source_noise,
                    repeats: s.repeats,
                })
            }
        }
    }

    /// Pictures the networks see at once; smaller than the plan's after memory ran out.
    pub fn group(&self) -> usize {
        self.group.get()
    }

    /// Translates the pictures at `indices`, in groups of one size whatever the batch size. A group the device has no room
    /// for is halved, for good.
    pub fn translate(
        &self,
        job: &Job,
        method: &dyn Method,
        indices: &[usize],
        step: &mut dyn FnMut(u64),
    ) -> Result<Pictures> {
        let mut made = Pictures::empty(self.source.side);
        while made.len() < indices.len() {
            let size = self.group.get();
            let group: Vec<usize> = indices[made.len()..].iter().take(size).copied().collect();
            let padded: Vec<usize> = group
                .iter()
                .chain(std::iter::repeat(&group[0]))
                .take(size)
                .copied()
                .collect();
            let pictures = self.source.select(&padded);
            match within_memory(|| {
                self.translate_group(job, method, &pictures, &mut || step(group.len() as u64))
            })? {
                Ok(whole) => made.append(whole.first(group.len())),
                Err(OutOfMemory(text)) if size == 1 => bail!(
                    "no memory on {:?} even for one picture: {text}",
                    self.device
                ),
                Err(_) => {
                    self.source_features
                        .iter()
                        .for_each(SourceFeatures::give_up);
                    self.group.set(size / 2);
                }
            }
        }
        Ok(made)
    }

    fn translate_group(
        &self,
        job: &Job,
        method: &dyn Method,
        group: &Pictures,
        step: &mut dyn FnMut(),
    ) -> Result<Pictures> {
        let x0 = group.tensor().to_device(self.device) * 2.0 - 1.0;
        let noise = PictureNoise {
            seed: job.identity.seed,
            names: group.names.clone(),
            side: group.side,
            device: self.device,
        };
        let mut watch = Watch::new(group.len(), self.device);
        let mut observe = |repeat: usize, i: usize, y: &Tensor| {
            watch.see(repeat, i, y);
            step();
        };
        let out = method
            .translate(&x0, &noise, &mut observe)?
            .to_device(Device::Cpu);
        if let Some(Broken { picture, step, .. }) = watch.broken().first() {
            bail!(
                "the translation of {} (picture {picture} of its group) is not finite from step {step} of {} on: lower lambda_s or lambda_i",
                group.names[*picture],
                job.identity.settings.steps
            );
        }
        Pictures::from_tensor(&out, group.names.clone())
    }
}
