//! Jobs: one for each row and seed, named by the SHA-256 of all that decides its result.

use crate::error::Problem;
use crate::spec::{Experiment, MethodKind, Precision, Row};
use crate::task::Task;
use anyhow::Result;
use egsde_models::weights::sha256_hex;
use egsde_sampler::energy::Similarity;
use egsde_sampler::method::{Evaluations, IlvrVariance, Solver, SourceNoise};
use egsde_sampler::schedule::Variance;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Raised when the sampler or the scores change on purpose: older results are then made again.
pub const RESULT_VERSION: u32 = 1;

/// A row with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub method: MethodKind,
    pub steps: usize,
    /// M in respaced steps (all of them for ILVR).
    pub start_steps: usize,
    pub lambda_s: f64,
    pub lambda_i: f64,
    pub similarity_s: Similarity,
    pub similarity_i: Similarity,
    pub low_pass_factor: usize,
    pub solver: Solver,
    pub variance: Variance,
    pub source_noise: SourceNoise,
    pub repeats: usize,
    pub range_t: usize,
    pub ilvr_variance: IlvrVariance,
}

impl Settings {
    /// Fills in the published code's defaults.
    pub fn of(row: &Row, task: &Task) -> Result<Self> {
        let steps = row.steps.unwrap_or(if row.method == MethodKind::Ilvr { 100 } else { 1000 });
        let start = row.start.unwrap_or(0.5);
        let start_steps = if row.method == MethodKind::Ilvr { steps } else { (start * steps as f64).round() as usize };
        let low_pass_factor = row.low_pass_factor.unwrap_or(task.image_size / 8);
        if start_steps == 0 {
            return Err(Problem::user(format!(
                "row {:?}: a start of {start} is less than one of {steps} steps: raise start or steps",
                row.name
            )));
        }
        if low_pass_factor == 0 || !task.image_size.is_multiple_of(low_pass_factor) {
            return Err(Problem::user(format!(
                "row {:?}: low_pass_factor {low_pass_factor} does not divide the picture's {} px",
                row.name, task.image_size
            )));
        }
        Ok(Self {
            method: row.method,
            steps,
            start_steps,
            lambda_s: row.lambda_s.unwrap_or(0.0),
            lambda_i: row.lambda_i.unwrap_or(0.0),
            similarity_s: row.similarity_s.unwrap_or(Similarity::Cosine),
            similarity_i: row.similarity_i.unwrap_or(Similarity::NegL2),
            low_pass_factor,
            solver: row.solver.unwrap_or(Solver::Ancestral),
            variance: row.variance.unwrap_or(Variance::FixedSmall),
            source_noise: row.source_noise.unwrap_or(SourceNoise::Shared),
            repeats: row.repeats.unwrap_or(1).max(1),
            range_t: row.range_t.unwrap_or(steps / 5),
            ilvr_variance: row.ilvr_variance.unwrap_or(IlvrVariance::LearnedRange),
        })
    }

    /// What one picture costs, without building the method.
    pub fn evaluations(&self) -> Evaluations {
        let diffusion = self.start_steps * self.repeats;
        let extractor = if self.lambda_s > 0.0 { diffusion } else { 0 };
        Evaluations { diffusion, extractor, extractor_gradient: extractor }
    }
}

/// What decides a result, and nothing else: no name, batch size, device or folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub version: u32,
    pub settings: Settings,
    pub seed: u64,
    pub pictures: usize,
    pub precision: Precision,
    pub task: Task,
}

/// One row at one seed.
#[derive(Debug, Clone)]
pub struct Job {
    pub row: String,
    pub identity: Identity,
    /// Folder name: readable, then the hash.
    pub id: String,
}

fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "=.".contains(c) { c.to_ascii_lowercase() } else { '-' };
    name.replace('†', "-dagger").chars().map(plain).collect()
}

impl Job {
    fn new(row: &Row, seed: u64, spec: &Experiment, task: &Task) -> Result<Self> {
        let settings = Settings::of(row, task)?;
        let (pictures, precision, task) = (spec.pictures, spec.precision, task.clone());
        let identity = Identity { version: RESULT_VERSION, settings, seed, pictures, precision, task };
        let hash = sha256_hex(&serde_json::to_vec(&identity)?);
        let id = format!("{}-s{seed}-{}", slug(&row.name), &hash[..12]);
        Ok(Self { row: row.name.clone(), identity, id })
    }
}

/// All jobs of an experiment, row by row.
#[derive(Debug)]
pub struct Plan {
    pub spec: Experiment,
    pub task: Task,
    pub jobs: Vec<Job>,
    /// `runs_dir/NAME`.
    pub folder: PathBuf,
}

impl Plan {
    /// Lays out the jobs; nothing is read but the task file.
    pub fn new(spec: Experiment, root: &Path) -> Result<Self> {
        let task = Task::read(root, &spec.task)?;
        let pairs = spec.methods.iter().flat_map(|row| spec.seeds.iter().map(move |seed| (row, *seed)));
        let jobs = pairs.map(|(row, seed)| Job::new(row, seed, &spec, &task)).collect::<Result<_>>()?;
        let folder = root.join(&spec.runs_dir).join(&spec.name);
        Ok(Self { spec, task, jobs, folder })
    }
}
