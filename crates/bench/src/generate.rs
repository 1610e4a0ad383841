//! An experiment of finished jobs, made without any sampling. Image files are written only where a
//! report shows them.

use anyhow::{Context, Result};
use egsde_data::image_set::ImageSet;
use egsde_metrics::registry::PerImageValues;
use egsde_runner::config::experiment::Experiment;
use egsde_runner::plan::{Job, Plan, ScoringIdentity};
use egsde_runner::project::Project;
use egsde_runner::scoring::Evaluator;
use egsde_runner::store::job_dir::JobDir;
use egsde_runner::store::per_image::{PER_IMAGE_FILE, PerImage};
use egsde_runner::store::scores::{SCORES_FILE, SamplingConditions, Scores, ScoringConditions};
use std::path::{Path, PathBuf};
use tch::Device;

/// Jobs of each row.
pub const SEEDS: usize = 4;

/// Images of each job.
const IMAGES: usize = 4;

/// Jobs that get image files: those of more rows than a grid shows.
const JOBS_WITH_IMAGES: usize = 30 * SEEDS;

/// Arguments of `egsde-bench generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    folder: PathBuf,
    jobs: usize,
}

/// The text of an experiment file of at least so many jobs: a sweep over lambda_s.
fn experiment_text(jobs: usize, runs: &Path) -> String {
    let rows = jobs.div_ceil(SEEDS);
    let values: Vec<String> = (1..=rows)
        .map(|i| format!("{:.4}", i as f64 / 1000.0))
        .collect();
    format!(
        "\
name: scale
title: Scale
task: cat2dog-32
seeds: [1, 2, 3, 4]
pictures: {IMAGES}
runs_dir: {}
methods:
  - {{name: EGSDE, method: egsde, steps: 10, start: 0.4, lambda_s: 1, lambda_i: 0.3}}
sweep: {{grid: {{lambda_s: [{}]}}}}
",
        runs.display(),
        values.join(", ")
    )
}

/// An arbitrary number in [0, 1) for one job and metric.
fn arbitrary_value(place: usize, metric: usize) -> f64 {
    ((place * 7919 + metric * 104_729) % 1000) as f64 / 1000.0
}

/// Scores of the job at a place in the plan, as no sampler made them.
fn scores(place: usize, per_image_sha256: &str, identity: &ScoringIdentity) -> Scores {
    let metrics = [
        "fid",
        "kid",
        "kid_subset_std",
        "l2",
        "precision",
        "psnr",
        "recall",
        "ssim",
    ];
    let values = metrics.iter().enumerate();
    let values = values.map(|(i, metric)| (metric.to_string(), 1.0 + arbitrary_value(place, i)));
    Scores {
        metrics: values.collect(),
        images: IMAGES,
        images_sha256: "0".repeat(64),
        per_image_sha256: per_image_sha256.into(),
        sampling: SamplingConditions {
            code: "generated".into(),
            device: "cpu".into(),
            processor: Some("none".into()),
            libtorch: "none".into(),
            threads: 2,
            own_kernels: true,
            save_every: 64,
            batch_size: 16,
            images: IMAGES,
            seconds: 1.0,
            network_seconds: 0.9,
            peak_memory_bytes: 1 << 30,
            gpu: None,
        },
        scoring: ScoringConditions {
            identity: identity.clone(),
            code: "generated".into(),
            device: "cpu".into(),
            seconds: 0.1,
        },
    }
}

/// The images and per-image values that all jobs get alike.
struct Contents {
    source: ImageSet,
    per_image: PerImage,
}

impl Contents {
    fn new(plan: &Plan, project: &Project) -> Result<Self> {
        let source = plan
            .task
            .source
            .load(project, plan.task.image_size, IMAGES)?;
        let evaluator = Evaluator::open(plan, project, Device::Cpu)?;
        let reference = evaluator.reference().features.as_ref();
        let reference = reference.context("the embedded reference has features")?;
        let mut values = PerImageValues::new();
        for metric in plan.metrics.iter().filter(|metric| metric.is_per_image()) {
            values.insert(metric.key.into(), vec![1.0; IMAGES]);
        }
        let features = reference.narrow(0, 0, IMAGES as i64);
        Ok(Self {
            source,
            per_image: PerImage { values, features },
        })
    }
}

/// The file of per-image values that every job gets, and its hash.
struct Template {
    path: PathBuf,
    sha256: String,
}

/// Writes the folder of the job at a place in the plan.
fn write_job(
    plan: &Plan,
    place: usize,
    job: &Job,
    contents: &Contents,
    template: &Template,
) -> Result<()> {
    let dir = JobDir::new(&plan.folder, job);
    std::fs::create_dir_all(dir.path())?;
    if place < JOBS_WITH_IMAGES {
        dir.write_images(&mut dir.checksums(), &contents.source)?;
    }
    // The store's own writing waits for the disk; only reading is measured.
    std::fs::copy(&template.path, dir.path().join(PER_IMAGE_FILE))?;
    let scores = scores(place, &template.sha256, &plan.scoring);
    Ok(std::fs::write(
        dir.path().join(SCORES_FILE),
        scores.to_sealed()?,
    )?)
}

/// Writes an experiment of finished jobs into a folder. It is a command by itself, since the memory
/// of a child counts that of its parent.
pub fn run(args: &Args) -> Result<()> {
    let (folder, project) = (&args.folder, Project::new(std::env::current_dir()?));
    let file = folder.join("scale.yaml");
    std::fs::write(&file, experiment_text(args.jobs, &folder.join("runs")))?;
    let plan = Plan::new(Experiment::read(&file, &project, &[])?, &project)?;
    let contents = Contents::new(&plan, &project)?;
    let sha256 = contents.per_image.write(folder)?;
    let template = Template {
        path: folder.join(PER_IMAGE_FILE),
        sha256,
    };
    for (place, job) in plan.jobs.iter().enumerate() {
        write_job(&plan, place, job, &contents, &template)?;
    }
    Ok(())
}
