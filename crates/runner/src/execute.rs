//! Runs the unfinished jobs of a plan.

use crate::error::{Problem, UserError};
use crate::plan::{Job, Plan, Settings};
use crate::progress::Progress;
use crate::spec::{MethodKind, Precision};
use crate::store::{Conditions, JobFolder, Scores, pictures_hash};
use crate::task::Task;
use anyhow::{Result, ensure};
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::pair::{PairScore, pair_scores};
use egsde_metrics::pictures::Pictures;
use egsde_models::{AdmUnet, CifarFeatures, Dse, Loaded};
use egsde_sampler::energy::{DomainIndependent, DomainSpecific, Energy, Expert};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, IlvrVariance, Method};
use egsde_sampler::noise::PictureNoise;
use egsde_sampler::schedule::{Schedule, space_timesteps};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// How to run; none of it changes a result.
#[derive(Debug, Clone)]
pub struct Resources {
    pub device: Device,
    pub batch_size: usize,
}

/// Networks, pictures and reference statistics of a task, loaded once for all jobs.
struct Workbench {
    task: Task,
    source: Pictures,
    diffusion: Loaded<AdmUnet>,
    extractor: Loaded<Dse>,
    features: Loaded<CifarFeatures>,
    reference: Statistics,
    device: Device,
}

/// Feature passes run in batches of this many pictures, always, so that results do not depend on settings.
const FEATURE_BATCH: usize = 100;

/// The networks always see this many pictures at once (a last group is padded): libtorch's convolutions and matrix
/// products round differently for different batch shapes, so a free batch size would move the results.
const GROUP: usize = 16;

/// Features `[n, d]` of pictures.
pub fn features_of(network: &Loaded<CifarFeatures>, pictures: &Pictures, device: Device) -> Tensor {
    let batch = |start: usize| {
        let indices: Vec<usize> = (start..(start + FEATURE_BATCH).min(pictures.len())).collect();
        network.features(&pictures.select(&indices).tensor().to_device(device))
    };
    let parts: Vec<Tensor> = tch::no_grad(|| (0..pictures.len()).step_by(FEATURE_BATCH).map(batch).collect());
    Tensor::cat(&parts, 0).to_device(Device::Cpu)
}

impl Workbench {
    fn open(plan: &Plan, root: &Path, device: Device) -> Result<Self> {
        let task = plan.task.clone();
        let kind = match plan.spec.precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
        let source = task.source.load(root, task.image_size)?;
        if source.len() < plan.spec.pictures {
            return Err(Problem::user(format!("pictures is {}, but {} has only {}", plan.spec.pictures, task.source.domain, source.len())));
        }
        let features: Loaded<CifarFeatures> = Loaded::open(&task.features.verified(root, "weights")?, device, Kind::Float)?;
        let reference = task.reference.load(root, task.image_size)?;
        Ok(Self {
            source: source.first(plan.spec.pictures),
            diffusion: Loaded::open(&task.diffusion.verified(root, "weights")?, device, kind)?,
            extractor: Loaded::open(&task.extractor.verified(root, "weights")?, device, kind)?,
            reference: Statistics::of(&features_of(&features, &reference, device))?,
            features,
            task,
            device,
        })
    }

    fn learns_sigma(&self) -> bool {
        self.diffusion.vs.variables().get("out.2.bias").is_some_and(|b| b.size() == [6])
    }

    /// Settings that these networks cannot do, before anything runs.
    fn check(&self, jobs: &[(&Job, JobFolder)]) -> Result<()> {
        let needs_sigma = |s: &Settings| s.method == MethodKind::Ilvr && s.ilvr_variance == IlvrVariance::LearnedRange;
        match jobs.iter().find(|(job, _)| needs_sigma(&job.identity.settings)) {
            Some((job, _)) if !self.learns_sigma() => {
                let text = "ilvr_variance is learned_range, but this network learned no sigma: set ilvr_variance to fixedsmall";
                Err(Problem::user(format!("row {:?}: {text}", job.row)))
            }
            _ => Ok(()),
        }
    }

    /// Calls `with` on the method of a job's settings.
    fn with_method<T>(&self, s: &Settings, with: impl FnOnce(&dyn Method) -> Result<T>) -> Result<T> {
        let timesteps = space_timesteps(1000, s.steps)?;
        let kernel = if s.method == MethodKind::Ilvr { Kernel::Cubic } else { Kernel::Linear };
        let low_pass = LowPass::new(self.task.image_size, s.low_pass_factor, kernel, self.device)?;
        if s.method == MethodKind::Ilvr {
            let schedule = Schedule::ddpm().respaced(&timesteps);
            let ilvr = Ilvr {
                diffusion: &self.diffusion,
                low_pass: &low_pass,
                schedule,
                range_t: s.range_t,
                variance: s.ilvr_variance,
                clip_denoised: true,
            };
            return with(&ilvr);
        }
        let mut experts: Vec<Box<dyn Expert + '_>> = Vec::new();
        // An expert of weight 0 costs nothing.
        if s.lambda_s > 0.0 {
            experts.push(Box::new(DomainSpecific { extractor: &self.extractor, similarity: s.similarity_s, weight: s.lambda_s }));
        }
        if s.lambda_i > 0.0 {
            experts.push(Box::new(DomainIndependent { low_pass: &low_pass, similarity: s.similarity_i, weight: s.lambda_i }));
        }
        with(&Egsde {
            diffusion: &self.diffusion,
            energy: Energy(experts),
            schedule: Schedule::ddpm().in_float32().respaced(&timesteps),
            start_steps: s.start_steps,
            solver: s.solver,
            variance: s.variance,
            source_noise: s.source_noise,
            repeats: s.repeats,
        })
    }

    /// Translates the pictures at `indices`, in groups of [`GROUP`] whatever the batch size.
    fn translate(&self, job: &Job, method: &dyn Method, indices: &[usize], step: &mut dyn FnMut(u64)) -> Result<Pictures> {
        let mut made = Pictures::empty(self.source.side);
        for group in indices.chunks(GROUP) {
            let padded: Vec<usize> = group.iter().chain(std::iter::repeat(&group[0])).take(GROUP).copied().collect();
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

    /// All metrics of translated pictures.
    fn score(&self, translated: &Pictures) -> Result<BTreeMap<String, f64>> {
        let pairs = pair_scores(&self.source.tensor(), &translated.tensor())?;
        let mean = |f: fn(&PairScore) -> f64| pairs.iter().map(f).sum::<f64>() / pairs.len() as f64;
        let own = Statistics::of(&features_of(&self.features, translated, self.device))?;
        let metrics = BTreeMap::from([
            ("fid".to_string(), frechet_distance(&own, &self.reference)?),
            ("l2".to_string(), mean(|p| p.l2)),
            ("psnr".to_string(), mean(|p| p.psnr)),
            ("ssim".to_string(), mean(|p| p.ssim)),
        ]);
        for (name, value) in &metrics {
            ensure!(value.is_finite(), "{name} is {value}");
        }
        Ok(metrics)
    }

    fn run(&self, job: &Job, folder: &JobFolder, resources: &Resources, bar: &mut Progress) -> Result<()> {
        folder.begin(job).user("cannot write results")?;
        let names = &self.source.names;
        let missing: Vec<usize> = (0..names.len()).filter(|i| folder.read_image(&names[*i], self.task.image_size).is_none()).collect();
        let each = job.identity.settings.evaluations().diffusion as u64;
        bar.skip(each * (names.len() - missing.len()) as u64);
        let began = Instant::now();
        self.with_method(&job.identity.settings, |method| {
            for indices in missing.chunks(resources.batch_size) {
                let made = self.translate(job, method, indices, &mut |count| bar.add(count, &job.id))?;
                folder.write_images(&made).user("cannot write results")?;
            }
            Ok(())
        })?;
        let sampling_seconds = began.elapsed().as_secs_f64();
        let translated = folder.read_all(names, self.task.image_size)?;
        let conditions = Conditions {
            device: format!("{:?}", resources.device),
            threads: tch::get_num_threads() as usize,
            batch_size: resources.batch_size,
            libtorch: "2.11.0".into(),
            code: crate::CODE.into(),
            sampling_seconds,
            sampled_pictures: missing.len(),
        };
        let metrics = self.score(&translated)?;
        folder
            .finish(&Scores { metrics, pictures: names.len(), images_sha256: pictures_hash(&translated), conditions })
            .user("cannot write results")
    }
}

/// Runs what is not finished; returns how many jobs were run. A job that fails does not stop the others.
pub fn execute(plan: &Plan, root: &Path, resources: &Resources, limit: Option<usize>) -> Result<usize> {
    std::fs::create_dir_all(&plan.folder)
        .user(format!("cannot write to {}: choose another folder with --set runs_dir=DIR", plan.folder.display()))?;
    let todo: Vec<(&Job, JobFolder)> = plan
        .jobs
        .iter()
        .map(|j| (j, JobFolder::of(&plan.folder, j)))
        .filter(|(_, f)| f.scores().is_none())
        .take(limit.unwrap_or(usize::MAX))
        .collect();
    if todo.is_empty() {
        return Ok(0);
    }
    let bench = Workbench::open(plan, root, resources.device)?;
    bench.check(&todo)?;
    let evaluations: u64 = todo.iter().map(|(j, _)| (j.identity.settings.evaluations().diffusion * plan.spec.pictures) as u64).sum();
    let mut bar = Progress::new(&plan.spec.name, "evaluations", evaluations);
    let mut failed = Vec::new();
    for (job, folder) in &todo {
        match bench.run(job, folder, resources, &mut bar) {
            Ok(()) => {}
            Err(error) if error.is::<Problem>() => return Err(error),
            Err(error) => {
                bar.say(&format!("egsde: job {}: {error:#}", job.id));
                failed.push(job.id.clone());
            }
        }
    }
    bar.finish();
    if failed.is_empty() {
        Ok(todo.len())
    } else {
        Err(Problem::No(format!("{} of {} jobs failed: {}", failed.len(), todo.len(), failed.join(", "))).into())
    }
}
