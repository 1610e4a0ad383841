//! `egsde claims`: what the paper claims about its table, held against what is finished.

use super::output::{Output, TableFormat};
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::store::results::Results;
use anyhow::Result;

/// Arguments of `egsde claims`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// One JSON document instead of Markdown.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Check failed: a job has no result. Invalid input: a mistake in the file of claims.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.plan(project)?;
    let results = Results::read(&plan);
    let format = TableFormat::from_json_option(args.json);
    Output::new(&results, project, &args.experiment)?.print_claims(format)
}
