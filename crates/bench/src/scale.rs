//! Does the harness's own cost grow as it must? Finished jobs are written by a generator; pictures only where a page shows them.

use crate::measure::{Cost, cost, median};
use anyhow::{Context, Result};
use egsde_metrics::pair::PairScore;
use egsde_metrics::pictures::Pictures;
use egsde_runner::evidence::{EVIDENCE, Evidence};
use egsde_runner::judge::Judge;
use egsde_runner::plan::{Job, Plan};
use egsde_runner::spec::Experiment;
use egsde_runner::store::{Conditions, JobFolder, SCORES, Scores};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tch::Device;

/// Arguments of `egsde-bench scale`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many finished jobs.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 100_000])]
    jobs: Vec<usize>,
    /// Runs of each command; their median is shown.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The program.
    #[arg(long, default_value = "target/release/egsde")]
    egsde: PathBuf,
}

/// Four seeds of many rows: a sweep over lambda_s.
fn experiment(jobs: usize, runs: &Path) -> String {
    let rows = jobs.div_ceil(SEEDS);
    let values: Vec<String> = (1..=rows)
        .map(|i| format!("{:.4}", i as f64 / 1000.0))
        .collect();
    format!(
        "name: scale\ntitle: Scale\ntask: cat2dog-32\nseeds: [1, 2, 3, 4]\npictures: {PICTURES}\nruns_dir: {}\nmethods:\n  \
         - {{name: EGSDE, method: egsde, steps: 10, start: 0.4, lambda_s: 1, lambda_i: 0.3}}\nsweep: {{grid: {{lambda_s: [{}]}}}}\n",
        runs.display(),
        values.join(", ")
    )
}

const SEEDS: usize = 4;

const PICTURES: usize = 4;

/// Jobs that get pictures: more rows than a grid shows.
const SHOWN: usize = 30 * SEEDS;

/// Scores of one job, as no sampler made them.
fn scores(place: usize, evidence_sha256: &str) -> Scores {
    let value = |k: usize| ((place * 7919 + k * 104_729) % 1000) as f64 / 1000.0;
    let names = [
        "fid",
        "kid",
        "kid_subset_std",
        "l2",
        "precision",
        "psnr",
        "recall",
        "ssim",
    ];
    Scores {
        metrics: names
            .iter()
            .enumerate()
            .map(|(k, name)| (name.to_string(), 1.0 + value(k)))
            .collect::<BTreeMap<_, _>>(),
        pictures: PICTURES,
        images_sha256: "0".repeat(64),
        evidence_sha256: evidence_sha256.into(),
        conditions: Conditions {
            device: "Cpu".into(),
            threads: 2,
            batch_size: 64,
            group: 16,
            libtorch: "none".into(),
            own_kernels: true,
            code: "generated".into(),
            sampling_seconds: 1.0,
            sampled_pictures: 64,
            network_seconds: 0.9,
            scoring_seconds: 0.1,
            peak_memory_bytes: 1 << 30,
        },
    }
}

/// What every job of a plan gets alike.
struct Contents {
    source: Pictures,
    evidence: Evidence,
}

impl Contents {
    fn of(plan: &Plan, root: &Path) -> Result<Self> {
        let source = plan
            .task
            .source
            .load(root, plan.task.image_size, PICTURES)?;
        let judge = Judge::of_plan(plan, root, Device::Cpu)?;
        let reference = judge
            .reference()
            .features
            .as_ref()
            .context("the embedded reference has features")?;
        let features = reference.narrow(0, 0, PICTURES as i64);
        let pairs = vec![
            PairScore {
                l2: 1.0,
                mse: 1.0,
                psnr: 1.0,
                ssim: 1.0
            };
            PICTURES
        ];
        Ok(Self {
            source,
            evidence: Evidence { pairs, features },
        })
    }

    fn write(
        &self,
        plan: &Plan,
        (place, job): (usize, &Job),
        template: &Path,
        sha256: &str,
    ) -> Result<()> {
        let folder = JobFolder::of(&plan.folder, job);
        std::fs::create_dir_all(folder.path())?;
        if place < SHOWN {
            folder.write_images(&mut folder.ledger(), &self.source)?;
        }
        // Without the store's fsync: only reading is measured.
        std::fs::copy(template, folder.path().join(EVIDENCE))?;
        Ok(std::fs::write(
            folder.path().join(SCORES),
            scores(place, sha256).sealed()?,
        )?)
    }
}

fn measured(args: &Args, line: &[&str]) -> Result<(f64, f64)> {
    let costs: Vec<Cost> = (0..args.repeats)
        .map(|_| cost(Command::new(&args.egsde).args(line)))
        .collect::<Result<_>>()?;
    let seconds = median(costs.iter().map(|c| c.seconds).collect());
    Ok((seconds, median(costs.iter().map(|c| c.mib).collect())))
}

/// Arguments of `egsde-bench generate`.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    folder: PathBuf,
    jobs: usize,
}

/// Writes an experiment of finished jobs into a folder. In a process of its own: the memory of a child counts its parent's.
pub fn generate(args: &GenerateArgs) -> Result<()> {
    let (folder, root) = (&args.folder, std::env::current_dir()?);
    let file = folder.join("scale.yaml");
    std::fs::write(&file, experiment(args.jobs, &folder.join("runs")))?;
    let plan = Plan::new(Experiment::read(&file, &root, &[])?, &root)?;
    let contents = Contents::of(&plan, &root)?;
    let sha256 = contents.evidence.write(folder)?;
    let template = folder.join(EVIDENCE);
    plan.jobs
        .iter()
        .enumerate()
        .try_for_each(|job| contents.write(&plan, job, &template, &sha256))
}

/// Prints a Markdown table.
pub fn run(args: &Args) -> Result<()> {
    println!("| command | jobs | seconds | MiB |\n|---|---:|---:|---:|");
    let (seconds, mib) = measured(args, &["--help"])?;
    println!("| `egsde --help` | | {seconds:.3} | {mib:.0} |");
    for jobs in &args.jobs {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        cost(Command::new(std::env::current_exe()?).args([
            "generate",
            &path(""),
            &jobs.to_string(),
        ]))?;
        let (file, baseline, out) = (path("scale.yaml"), path("baseline.csv"), path("report"));
        cost(Command::new(&args.egsde).args(["compare", &file, &baseline, "--update", "--yes"]))?;
        let commands: [(&str, Vec<&str>); 4] = [
            ("plan", vec!["plan", &file, "--yes"]),
            ("table", vec!["table", &file, "--yes"]),
            ("compare", vec!["compare", &file, &baseline, "--yes"]),
            ("report", vec!["report", &file, "--out", &out, "--yes"]),
        ];
        for (name, line) in commands {
            let (seconds, mib) = measured(args, &line)?;
            println!(
                "| `egsde {name}` | {} | {seconds:.3} | {mib:.0} |",
                jobs.next_multiple_of(SEEDS)
            );
        }
    }
    Ok(())
}
