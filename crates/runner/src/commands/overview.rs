//! `egsde overview`: one page of several experiments.

use super::output::Output;
use crate::error::invalid_input;
use crate::paths::path_parser;
use crate::plan::Plan;
use crate::plan::experiment_args::{ExperimentArgs, ExperimentChanges, parse_count};
use crate::project::Project;
use crate::report::overview::{self, Part};
use crate::report::{self, image_grids};
use crate::runtime::console::log;
use crate::store::results::Results;
use anyhow::Result;
use egsde_data::nearest::offer;
use std::path::PathBuf;

/// The rows that the paper's slides show side by side.
const ROWS_OF_THE_SLIDES: [&str; 4] = ["EGSDE", "SDEdit", "ILVR", "CUT"];

/// Arguments of `egsde overview`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Experiment files whose jobs are finished.
    #[arg(required = true, value_name = "EXPERIMENT", value_parser = path_parser())]
    experiments: Vec<PathBuf>,
    #[command(flatten)]
    changes: ExperimentChanges,
    /// Rows that the grid shows, in this order (EGSDE,SDEdit,ILVR,CUT); an experiment that has no
    /// such row leaves it out.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Sources that the grid shows.
    #[arg(long, value_parser = parse_count, default_value = "16")]
    sources: usize,
    /// Heading of the page.
    #[arg(long, default_value = "All tasks")]
    title: String,
    /// Folder to write, for example reports/all.
    #[arg(long, value_parser = path_parser())]
    out: PathBuf,
    /// Write over files there that no report left.
    #[arg(long)]
    force: bool,
}

/// Refuses a row that no experiment has, before anything is read.
fn check_rows(rows: &[String], plans: &[Plan]) -> Result<()> {
    let mut known: Vec<&str> = Vec::new();
    for plan in plans {
        known.extend(plan.experiment.methods.iter().map(|row| row.name.as_str()));
    }
    match rows.iter().find(|row| !known.contains(&row.as_str())) {
        None => Ok(()),
        Some(row) => Err(invalid_input(format!(
            "--rows: no experiment has a row {row}{}",
            offer(row, known.into_iter())
        ))),
    }
}

/// The rows that are shown. Those that were typed must be somewhere; the paper's need not.
fn shown_rows(args: &Args, plans: &[Plan]) -> Result<Vec<String>> {
    if args.rows.is_empty() {
        return Ok(ROWS_OF_THE_SLIDES.map(String::from).to_vec());
    }
    check_rows(&args.rows, plans)?;
    Ok(args.rows.clone())
}

/// The part of the page about one experiment.
fn part<'a>(
    plan: &'a Plan,
    experiment: &ExperimentArgs,
    rows: &[String],
    sources: usize,
    project: &Project,
) -> Result<Part<'a>> {
    let results = Results::read(plan);
    let output = Output::new(&results, project, experiment)?;
    output.require_some_result()?;
    Ok(Part {
        plan,
        grid: image_grids::grid_of_rows(&results, project, rows, sources)?,
        table: output.into_table(),
    })
}

/// Runs the command.
///
/// # Errors
/// Invalid input: an experiment of which no job is finished, a row that none has, or a folder that
/// cannot be written or holds files of other origin.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let (mut experiments, mut plans) = (Vec::new(), Vec::new());
    for file in &args.experiments {
        let experiment = ExperimentArgs::new(file, &args.changes);
        plans.push(experiment.plan(project)?);
        experiments.push(experiment);
    }
    let rows = shown_rows(args, &plans)?;
    if !args.force {
        report::check_target(&args.out)?;
    }
    let mut parts = Vec::new();
    for (plan, experiment) in plans.iter().zip(&experiments) {
        parts.push(part(plan, experiment, &rows, args.sources, project)?);
    }
    let names = overview::write(&args.title, &parts, &args.out)?;
    writeln!(
        log(),
        "overview: wrote {} into {}",
        names.join(", "),
        args.out.display()
    );
    Ok(())
}
