//! `egsde compare`: an experiment's numbers against stored ones.

use super::output::Output;
use crate::analysis::baseline;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::store::results::Results;
use anyhow::Result;
use egsde_data::files::write_atomically;
use std::path::PathBuf;

/// Arguments of `egsde compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Stored numbers (results/baselines/*.csv).
    baseline: PathBuf,
    /// Write the numbers instead of comparing them.
    #[arg(long)]
    update: bool,
}

/// Runs the command.
///
/// # Errors
/// Check failed: a job has no result, or a number left its tolerance (by name).
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.plan(project)?;
    let results = Results::read(&plan);
    let output = Output::new(&results, project, args.experiment.file())?;
    output.require_all_results()?;
    let lines = baseline::lines(output.table());
    if args.update {
        return write_atomically(&args.baseline, baseline::to_csv(&lines)?.as_bytes());
    }
    baseline::compare(&lines, &baseline::read(&args.baseline)?)?;
    println!(
        "{}: {} numbers within tolerance of {}",
        plan.experiment.name,
        lines.len(),
        args.baseline.display()
    );
    Ok(())
}
