//! `egsde compare`: an experiment's numbers against stored ones.

use super::output::Output;
use crate::analysis::baseline;
use crate::error::invalid_input;
use crate::paths::path_parser;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::runtime::console::stdout;
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
    #[arg(value_parser = path_parser())]
    baseline: PathBuf,
    /// Write the numbers instead of comparing them.
    #[arg(long)]
    update: bool,
    /// With --update: write over a file that holds no such numbers, too.
    #[arg(long, requires = "update")]
    force: bool,
}

/// Refuses to write numbers over a file that is no baseline.
fn check_target(args: &Args) -> Result<()> {
    let path = &args.baseline;
    if args.force || !path.exists() || baseline::read(path).is_ok() {
        return Ok(());
    }
    Err(invalid_input(format!(
        "{} is there and holds no stored numbers: name another file, or --force writes over it",
        path.display()
    )))
}

/// Runs the command.
///
/// # Errors
/// Check failed: a job has no result, or a number left its tolerance (by name).
pub fn run(args: &Args, project: &Project) -> Result<()> {
    if args.update {
        check_target(args)?;
    }
    let plan = args.experiment.plan(project)?;
    let results = Results::read(&plan);
    let output = Output::new(&results, project, &args.experiment)?;
    output.require_all_results()?;
    let lines = baseline::lines(output.table());
    if args.update {
        return write_atomically(&args.baseline, baseline::to_csv(&lines)?.as_bytes());
    }
    baseline::compare(&lines, &baseline::read(&args.baseline)?)?;
    writeln!(
        stdout(),
        "{}: {} numbers within tolerance of {}",
        plan.experiment.name,
        lines.len(),
        args.baseline.display()
    )?;
    Ok(())
}
