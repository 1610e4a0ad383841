//! What the harness itself costs: everything in a run that is neither a network evaluation nor a
//! metric.

use crate::measure::measure_cost;
use anyhow::{Context, Result};
use egsde_metrics::averages::median;
use egsde_runner::config::experiment::Experiment;
use egsde_runner::config::overrides::Assignment;
use egsde_runner::plan::Plan;
use egsde_runner::project::Project;
use egsde_runner::store::job_dir::JobDir;
use std::path::PathBuf;
use std::process::Command;

/// Arguments of `egsde-bench overhead`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "experiments/table1.yaml")]
    experiment: PathBuf,
    /// Images per job.
    #[arg(long, default_value_t = 64)]
    pictures: usize,
    /// Runs; the median is shown.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The program.
    #[arg(long, default_value = "target/release/egsde")]
    egsde: PathBuf,
}

/// Seconds of one run and its parts.
struct Parts {
    whole: f64,
    sampling: f64,
    networks: f64,
    metrics: f64,
}

impl Parts {
    /// Noise, solver, energies, image files, checks.
    fn rest_of_sampling(&self) -> f64 {
        self.sampling - self.networks
    }

    /// Start, loading, reference statistics, scores.
    fn rest_of_process(&self) -> f64 {
        self.whole - self.sampling - self.metrics
    }
}

/// A part of a run: what it is called, and its seconds.
type Part = (&'static str, fn(&Parts) -> f64);

const SHOWN: [Part; 5] = [
    ("network evaluations", |parts| parts.networks),
    ("metrics", |parts| parts.metrics),
    (
        "rest of sampling: noise, solver, energies, PNG, checks",
        Parts::rest_of_sampling,
    ),
    (
        "rest of the process: start, loading, reference statistics, scores",
        Parts::rest_of_process,
    ),
    ("whole run", |parts| parts.whole),
];

fn run_once(args: &Args) -> Result<Parts> {
    let folder = tempfile::tempdir()?;
    let sets = [
        format!("pictures={}", args.pictures),
        "seeds=[1]".into(),
        format!("runs_dir={}", folder.path().display()),
    ];
    let mut command = Command::new(&args.egsde);
    command.arg("run").arg(&args.experiment);
    for set in &sets {
        command.args(["--set", set]);
    }
    let whole = measure_cost(&mut command)?.seconds;
    let project = Project::new(std::env::current_dir()?);
    let changes: Vec<Assignment> = sets
        .iter()
        .map(|set| Assignment::from_set(set))
        .collect::<Result<_>>()?;
    let plan = Plan::new(
        Experiment::read(&args.experiment, &project, &changes)?,
        &project,
    )?;
    let mut parts = Parts {
        whole,
        sampling: 0.0,
        networks: 0.0,
        metrics: 0.0,
    };
    for job in &plan.jobs {
        let scores = JobDir::new(&plan.folder, job)
            .scores()
            .context("a job without scores")?;
        parts.sampling += scores.sampling.seconds;
        parts.networks += scores.sampling.network_seconds;
        parts.metrics += scores.scoring.seconds;
    }
    Ok(parts)
}

/// Prints a Markdown table.
pub fn run(args: &Args) -> Result<()> {
    let runs: Vec<Parts> = (0..args.repeats)
        .map(|_| run_once(args))
        .collect::<Result<_>>()?;
    let experiment = args.experiment.display();
    println!(
        "`{experiment}`, one seed, {} images per job:\n",
        args.pictures
    );
    println!("| part | seconds | fraction of the run |\n|---|---:|---:|");
    for (name, seconds) in SHOWN {
        let middle = median(runs.iter().map(seconds).collect());
        let fraction = median(
            runs.iter()
                .map(|parts| seconds(parts) / parts.whole)
                .collect(),
        );
        println!("| {name} | {middle:.2} | {:.1} % |", 100.0 * fraction);
    }
    Ok(())
}
