//! `egsde report`: tables, plots, picture grids and the page that holds them.

use super::output::Output;
use crate::paths::path_parser;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::store::results::Results;
use anyhow::Result;
use std::path::PathBuf;

/// Arguments of `egsde report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Folder to write instead of the experiment's `report`.
    #[arg(long, value_parser = path_parser())]
    out: Option<PathBuf>,
    /// With --out: write over files there that no report left.
    #[arg(long, requires = "out")]
    force: bool,
}

/// Runs the command.
///
/// # Errors
/// Invalid input: no job is finished, or the folder cannot be written.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.plan(project)?;
    let results = Results::read(&plan);
    let output = Output::new(&results, project, &args.experiment)?;
    match &args.out {
        Some(folder) => output.write_report_to(folder, args.force),
        None => output.write_report(),
    }
}
