//! Jobs: one for each row and seed, named by the SHA-256 of all that decides its result.

use crate::error::Problem;
use crate::experts::{ExpertSpec, check_factor};
use crate::manifest::{Input, folder_sha256};
use crate::spec::{Experiment, Format, MethodKind, Precision, Row};
use crate::task::Task;
use crate::yaml::nearest;
use anyhow::Result;
use egsde_models::files::sha256_hex;
use egsde_sampler::energy::{Similarity, Weight};
use egsde_sampler::method::{Evaluations, IlvrVariance, STEPS_OF_T, Solver, SourceNoise};
use egsde_sampler::schedule::{Variance, space_timesteps};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Raised when the sampler or the scores change on purpose: older results are then made again.
pub const RESULT_VERSION: u32 = 3;

/// A row with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub method: MethodKind,
    pub steps: usize,
    /// M in respaced steps (all of them for ILVR).
    pub start_steps: usize,
    /// Those that count at some time, every default filled in.
    pub experts: Vec<ExpertSpec>,
    pub low_pass_factor: usize,
    pub solver: Solver,
    /// Of DDIM (0 where it is not given).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    pub variance: Variance,
    pub source_noise: SourceNoise,
    pub repeats: usize,
    pub range_t: usize,
    pub ilvr_variance: IlvrVariance,
}

impl Settings {
    /// Fills in the published code's defaults.
    pub fn of(row: &Row, task: &Task) -> Result<Self> {
        let steps = row.steps.unwrap_or(if row.method == MethodKind::Ilvr {
            100
        } else {
            1000
        });
        let start = row.start.unwrap_or(0.5);
        let start_steps = if row.method == MethodKind::Ilvr {
            steps
        } else {
            (start * steps as f64).round() as usize
        };
        let low_pass_factor = row.low_pass_factor.unwrap_or(task.image_size / 8);
        if start_steps == 0 {
            return Err(Problem::user(format!(
                "row {:?}: a start of {start} is less than one of {steps} steps: raise start or steps",
                row.name
            )));
        }
        check_factor(&row.name, low_pass_factor, task.image_size)?;
        Ok(Self {
            method: row.method,
            steps,
            start_steps,
            experts: experts(row, low_pass_factor, task)?,
            low_pass_factor,
            solver: row.solver.unwrap_or(Solver::Ancestral),
            eta: row.eta.filter(|eta| *eta != 0.0),
            variance: row.variance.unwrap_or(Variance::FixedSmall),
            source_noise: row.source_noise.unwrap_or(SourceNoise::Shared),
            repeats: row.repeats.unwrap_or(1).max(1),
            range_t: row.range_t.unwrap_or(steps / 5),
            ilvr_variance: row.ilvr_variance.unwrap_or(IlvrVariance::LearnedRange),
        })
    }

    /// Whether pictures are made by this program's networks.
    pub fn samples(&self) -> bool {
        !matches!(self.method, MethodKind::External | MethodKind::Source)
    }

    /// What one picture costs, without building the method.
    pub fn evaluations(&self) -> Evaluations {
        let diffusion = if self.samples() {
            self.start_steps * self.repeats
        } else {
            0
        };
        let mut all = Evaluations {
            diffusion,
            ..Default::default()
        };
        // As `Schedule::respaced` spaces them: step i of n stands at about i / n of T.
        let times = space_timesteps(STEPS_OF_T as usize, self.steps).unwrap_or_default();
        for expert in &self.experts {
            let weight = expert.weight();
            let steps = times
                .iter()
                .take(self.start_steps)
                .filter(|t| weight.at(**t as f64 / STEPS_OF_T) != 0.0)
                .count()
                * self.repeats;
            let (plain, with_gradient) = expert.evaluations();
            all.extractor += steps * plain;
            all.extractor_gradient += steps * with_gradient;
        }
        all
    }
}

/// A row's experts: those of lambda_s and lambda_i, then its list, without what never counts.
fn experts(row: &Row, factor: usize, task: &Task) -> Result<Vec<ExpertSpec>> {
    let similarity = row.similarity_s.unwrap_or(Similarity::Cosine);
    let specific = row.lambda_s.map(|w| ExpertSpec::DomainSpecific {
        weight: Weight::Constant(w),
        similarity,
    });
    let similarity = row.similarity_i.unwrap_or(Similarity::NegL2);
    let independent = row.lambda_i.map(|w| ExpertSpec::DomainIndependent {
        weight: Weight::Constant(w),
        similarity,
        low_pass_factor: None,
    });
    let all = specific
        .into_iter()
        .chain(independent)
        .chain(row.experts.iter().cloned());
    all.filter(|e| !e.weight().is_zero())
        .map(|e| e.settled(&row.name, factor, task))
        .collect()
}

fn is_empty(map: &Arc<BTreeMap<String, String>>) -> bool {
    map.is_empty()
}

/// What decides a result, and nothing else: no name, batch size, device or folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub version: u32,
    pub settings: Settings,
    pub seed: u64,
    pub pictures: usize,
    pub precision: Precision,
    pub format: Format,
    pub group: usize,
    /// Shared by a plan's jobs, as `inputs`.
    pub task: Arc<Task>,
    /// SHA-256 of the published files and folders of the task, as far as they are known.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub inputs: Arc<BTreeMap<String, String>>,
    /// [`folder_sha256`] of an external method's pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_sha256: Option<String>,
}

impl Identity {
    /// Folder name of the job: readable, then the hash.
    pub fn job_id(&self, row: &str) -> Result<String> {
        let hash = sha256_hex(&serde_json::to_vec(self)?);
        Ok(format!("{}-s{}-{}", slug(row), self.seed, &hash[..12]))
    }
}

/// One row at one seed.
#[derive(Debug, Clone)]
pub struct Job {
    pub row: String,
    pub identity: Identity,
    /// Where an external method's pictures lie.
    pub images: Option<PathBuf>,
    /// Folder name: readable, then the hash.
    pub id: String,
}

fn slug(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "=.".contains(c) {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    name.replace('†', "-dagger").chars().map(plain).collect()
}

/// What all jobs of an experiment share.
struct Shared<'a> {
    spec: &'a Experiment,
    task: Arc<Task>,
    inputs: Arc<BTreeMap<String, String>>,
    root: &'a Path,
}

impl Job {
    fn new(row: &Row, seed: u64, shared: &Shared) -> Result<Self> {
        let Shared {
            spec,
            task,
            inputs,
            root,
        } = shared;
        let settings = Settings::of(row, task)?;
        let images = row
            .images
            .as_ref()
            .map(|folder| root.join(folder.replace("{seed}", &seed.to_string())));
        let identity = Identity {
            version: RESULT_VERSION,
            settings,
            seed,
            pictures: spec.pictures,
            precision: spec.precision,
            format: spec.format,
            group: spec.group,
            task: task.clone(),
            inputs: inputs.clone(),
            images_sha256: images.as_deref().map(folder_sha256).transpose()?,
        };
        let id = identity.job_id(&row.name)?;
        Ok(Self {
            row: row.name.clone(),
            identity,
            images,
            id,
        })
    }
}

/// Seeds of a row: pictures that know no seed are judged once.
fn seeds(row: &Row, spec: &Experiment) -> Vec<u64> {
    let once = match row.method {
        MethodKind::Source => true,
        MethodKind::External => !row.images.as_ref().is_some_and(|i| i.contains("{seed}")),
        _ => false,
    };
    spec.seeds
        .iter()
        .copied()
        .take(if once { 1 } else { usize::MAX })
        .collect()
}

/// All jobs of an experiment, row by row.
#[derive(Debug)]
pub struct Plan {
    pub spec: Experiment,
    pub task: Task,
    /// Published files and folders the task needs.
    pub inputs: Vec<Input>,
    pub jobs: Vec<Job>,
    /// `runs_dir/NAME`.
    pub folder: PathBuf,
}

impl Plan {
    /// The jobs of a row; a name that is none is told with the nearest.
    pub fn jobs_of(&self, row: &str) -> Result<Vec<&Job>> {
        let jobs: Vec<&Job> = self.jobs.iter().filter(|j| j.row == row).collect();
        if jobs.is_empty() {
            let names: Vec<&str> = self.spec.methods.iter().map(|r| r.name.as_str()).collect();
            let near = nearest(row, names.iter().copied())
                .map_or(String::new(), |n| format!("; did you mean {n:?}?"));
            return Err(Problem::user(format!(
                "no row {row:?}; there are {}{near}",
                names.join(", ")
            )));
        }
        Ok(jobs)
    }

    /// Lays out the jobs; only the task, its manifests and external pictures are read.
    pub fn new(spec: Experiment, root: &Path) -> Result<Self> {
        let task = Task::read(root, &spec.task)?;
        let inputs = task.inputs(root)?;
        let known = |i: &Input| {
            (
                i.key.clone(),
                i.sha256.clone().unwrap_or_else(|| "not known".into()),
            )
        };
        let inputs_known = Arc::new(inputs.iter().map(known).collect());
        let shared = Shared {
            spec: &spec,
            task: Arc::new(task.clone()),
            inputs: inputs_known,
            root,
        };
        let of = |row: &Row| {
            seeds(row, &spec)
                .into_iter()
                .map(|seed| Job::new(row, seed, &shared))
                .collect::<Result<Vec<Job>>>()
        };
        let jobs: Vec<Vec<Job>> = spec.methods.par_iter().map(of).collect::<Result<_>>()?;
        let jobs = jobs.into_iter().flatten().collect();
        let folder = root.join(&spec.runs_dir).join(&spec.name);
        Ok(Self {
            spec,
            task,
            inputs,
            jobs,
            folder,
        })
    }
}
