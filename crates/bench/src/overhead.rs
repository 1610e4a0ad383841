//! What the harness itself costs: everything of a run that is neither a network evaluation nor a metric.

use crate::measure::{cost, median};
use anyhow::{Context, Result};
use egsde_runner::plan::Plan;
use egsde_runner::spec::Experiment;
use egsde_runner::store::JobFolder;
use std::path::PathBuf;
use std::process::Command;

/// Arguments of `egsde-bench overhead`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "experiments/table1.yaml")]
    experiment: PathBuf,
    /// Pictures of each job.
    #[arg(long, default_value_t = 64)]
    pictures: usize,
    /// Runs; the median is shown.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The program.
    #[arg(long, default_value = "target/release/egsde")]
    egsde: PathBuf,
}

/// A part's seconds.
type Of = fn(&Parts) -> f64;

/// Seconds of one run.
struct Parts {
    whole: f64,
    sampling: f64,
    networks: f64,
    metrics: f64,
}

fn once(args: &Args) -> Result<Parts> {
    let folder = tempfile::tempdir()?;
    let sets = [
        format!("pictures={}", args.pictures),
        "seeds=[1]".into(),
        format!("runs_dir={}", folder.path().display()),
    ];
    let mut command = Command::new(&args.egsde);
    command.arg("run").arg(&args.experiment);
    sets.iter().for_each(|set| _ = command.args(["--set", set]));
    let whole = cost(&mut command)?.seconds;
    let root = std::env::current_dir()?;
    let plan = Plan::new(Experiment::read(&args.experiment, &root, &sets)?, &root)?;
    let mut parts = Parts {
        whole,
        sampling: 0.0,
        networks: 0.0,
        metrics: 0.0,
    };
    for job in &plan.jobs {
        let conditions = JobFolder::of(&plan.folder, job)
            .scores()
            .context("a job without scores")?
            .conditions;
        parts.sampling += conditions.sampling_seconds;
        parts.networks += conditions.network_seconds;
        parts.metrics += conditions.scoring_seconds;
    }
    Ok(parts)
}

/// Prints a Markdown table.
pub fn run(args: &Args) -> Result<()> {
    let parts: Vec<Parts> = (0..args.repeats)
        .map(|_| once(args))
        .collect::<Result<_>>()?;
    let middle = |of: &dyn Fn(&Parts) -> f64| median(parts.iter().map(of).collect());
    println!(
        "`{}`, one seed, {} pictures a job:\n",
        args.experiment.display(),
        args.pictures
    );
    println!("| part | seconds | share of the run |\n|---|---:|---:|");
    let rows: [(&str, Of); 5] = [
        ("network evaluations", |p| p.networks),
        ("metrics", |p| p.metrics),
        (
            "rest of sampling: noise, solver, energies, PNG, checks",
            |p| p.sampling - p.networks,
        ),
        (
            "rest of the process: start, loading, reference statistics, scores",
            |p| p.whole - p.sampling - p.metrics,
        ),
        ("whole run", |p| p.whole),
    ];
    for (name, of) in rows {
        println!(
            "| {name} | {:.2} | {:.1} % |",
            middle(&of),
            100.0 * middle(&|p| of(p) / p.whole)
        );
    }
    Ok(())
}
