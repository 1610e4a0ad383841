//! Networks and source pictures of a task, loaded once for all jobs, and the translation of pictures with them.

use crate::error::Problem;
use crate::plan::{Job, Plan, Settings};
use crate::spec::MethodKind;
use crate::task::Task;
use anyhow::Result;
use egsde_metrics::pictures::Pictures;
use egsde_models::{AdmUnet, DdpmUnet, Dse, Loaded, NetworkConfig};
use egsde_sampler::energy::{DomainIndependent, DomainSpecific, Energy, Expert};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, IlvrVariance, Method, Predictor, Untranslated};
use egsde_sampler::noise::PictureNoise;
use egsde_sampler::schedule::{Schedule, space_timesteps};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A noise predictor of either family.
enum Diffusion {
    Adm(Box<Loaded<AdmUnet>>),
    Ddpm(Box<Loaded<DdpmUnet>>),
}

impl Diffusion {
    fn open(task: &Task, root: &Path, device: Device, kind: Kind) -> Result<Self> {
        match task.diffusion.config(root)? {
            NetworkConfig::DdpmUnet(_) => Ok(Self::Ddpm(Box::new(task.diffusion.open(root, device, kind)?))),
            _ => Ok(Self::Adm(Box::new(task.diffusion.open(root, device, kind)?))),
        }
    }

    fn learns_sigma(&self) -> bool {
        match self {
            Self::Adm(network) => network.vs.variables().get("out.2.bias").is_some_and(|b| b.size() == [6]),
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
    device: Device,
    /// The networks always see this many pictures at once (a last group is padded): libtorch's convolutions and matrix
    /// products round differently for different batch shapes, so a free batch size would move the results.
    group: usize,
}

impl Workbench {
    /// Loads and verifies everything a plan's jobs need.
    pub fn open(plan: &Plan, root: &Path, device: Device) -> Result<Self> {
        let (task, spec) = (plan.task.clone(), &plan.spec);
        let kind = spec.precision.kind();
        let source = task.source.load(root, task.image_size, spec.pictures)?;
        if source.len() < spec.pictures {
            return Err(Problem::user(format!("pictures is {}, but {} has only {}", spec.pictures, task.source.domain, source.len())));
        }
        let diffusion = Diffusion::open(&task, root, device, kind)?;
        let extractor = task.extractor.open(root, device, kind)?;
        Ok(Self { group: spec.group.min(source.len()), source, diffusion, extractor, task, device })
    }

    /// Settings that these networks cannot do, before anything runs.
    pub fn check<'a>(&self, mut jobs: impl Iterator<Item = &'a Job>) -> Result<()> {
        let needs_sigma = |s: &Settings| s.method == MethodKind::Ilvr && s.ilvr_variance == IlvrVariance::LearnedRange;
        match jobs.find(|job| needs_sigma(&job.identity.settings)) {
            Some(job) if !self.diffusion.learns_sigma() => {
                let text = "ilvr_variance is learned_range, but this network learned no sigma: set ilvr_variance to fixedsmall";
                Err(Problem::user(format!("row {:?}: {text}", job.row)))
            }
            _ => Ok(()),
        }
    }

    /// Calls `with` on the method of a job's settings.
    pub fn with_method<T>(&self, s: &Settings, with: impl FnOnce(&dyn Method) -> Result<T>) -> Result<T> {
        let timesteps = space_timesteps(1000, s.steps)?;
        let kernel = if s.method == MethodKind::Ilvr { Kernel::Cubic } else { Kernel::Linear };
        let low_pass = LowPass::new(self.task.image_size, s.low_pass_factor, kernel, self.device)?;
        match s.method {
            MethodKind::Source | MethodKind::External => with(&Untranslated),
            MethodKind::Ilvr => with(&Ilvr {
                diffusion: &self.diffusion,
                low_pass: &low_pass,
                schedule: Schedule::ddpm().respaced(&timesteps),
                range_t: s.range_t,
                variance: s.ilvr_variance,
                clip_denoised: true,
            }),
            MethodKind::Egsde | MethodKind::Sdedit => with(&Egsde {
                diffusion: &self.diffusion,
                energy: self.energy(s, &low_pass),
                schedule: Schedule::ddpm().in_float32().respaced(&timesteps),
                start_steps: s.start_steps,
                solver: s.solver,
                variance: s.variance,
                source_noise: s.source_noise,
                repeats: s.repeats,
            }),
        }
    }

    /// The experts of a job's settings; one of weight 0 costs nothing.
    fn energy<'a>(&'a self, s: &Settings, low_pass: &'a LowPass) -> Energy<'a> {
        let mut experts: Vec<Box<dyn Expert + 'a>> = Vec::new();
        if s.lambda_s > 0.0 {
            experts.push(Box::new(DomainSpecific { extractor: &self.extractor, similarity: s.similarity_s, weight: s.lambda_s }));
        }
        if s.lambda_i > 0.0 {
            experts.push(Box::new(DomainIndependent { low_pass, similarity: s.similarity_i, weight: s.lambda_i }));
        }
        Energy(experts)
    }

    /// Translates the pictures at `indices`, in groups of one size whatever the batch size.
    pub fn translate(&self, job: &Job, method: &dyn Method, indices: &[usize], step: &mut dyn FnMut(u64)) -> Result<Pictures> {
        let mut made = Pictures::empty(self.source.side);
        for group in indices.chunks(self.group) {
            let padded: Vec<usize> = group.iter().chain(std::iter::repeat(&group[0])).take(self.group).copied().collect();
            let whole = self.translate_group(job, method, &self.source.select(&padded), &mut || step(group.len() as u64))?;
            made.append(whole.first(group.len()));
        }
        Ok(made)
    }

    fn translate_group(&self, job: &Job, method: &dyn Method, group: &Pictures, step: &mut dyn FnMut()) -> Result<Pictures> {
        let x0 = group.tensor().to_device(self.device) * 2.0 - 1.0;
        let noise = PictureNoise { seed: job.identity.seed, names: group.names.clone(), side: group.side, device: self.device };
        let out = method.translate(&x0, &noise, &mut |_, _, _| step())?.to_device(Device::Cpu);
        let finite = out.isfinite().flatten(1, -1).all_dim(1, false);
        if let Some(bad) = (0..group.len()).find(|i| finite.int64_value(&[*i as i64]) == 0) {
            anyhow::bail!("job {}: the translation of {} is not finite: lower lambda_s or lambda_i", job.id, group.names[bad]);
        }
        Pictures::from_tensor(&out, group.names.clone())
    }
}
