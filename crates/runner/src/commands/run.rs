//! `egsde run`: the unfinished jobs of an experiment.

use super::output::{Output, TableFormat};
use crate::analysis::table::Table;
use crate::plan::Plan;
use crate::plan::experiment_args::{ExperimentArgs, parse_count};
use crate::project::Project;
use crate::report::{self, markdown};
use crate::run::preview::PreviewRequest;
use crate::run::scheduler::{JobSelection, Resources, Shard, Workers, run_plan_after_preview};
use crate::runtime::console::log;
use crate::runtime::device::open_device;
use crate::runtime::signal;
use crate::scoring::evaluator::LazyEvaluator;
use crate::store::results::Results;
use anyhow::Result;
use tch::Device;

/// Arguments of `egsde run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// At most this many jobs, then stop.
    #[arg(long)]
    limit: Option<usize>,
    /// Only every n-th job from the i-th on (2/8), for machines that share no folder; see egsde
    /// merge.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Where to compute: cpu, cuda:0, or several that share the jobs (cuda:0,cuda:1; cpu,cpu).
    #[arg(
        long = "device",
        default_value = "cpu",
        value_delimiter = ',',
        value_parser = open_device
    )]
    devices: Vec<Device>,
    /// Jobs at a time on the CPU, which never changes a result: a number, or auto for as many as
    /// pay.
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        overrides_with = "workers"
    )]
    workers: Workers,
    /// Pictures between two writes instead of the file's; never changes a result.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    save_every: Option<usize>,
    /// First show this many pictures of each row at the first seed, as a table and a grid.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    preview: Option<usize>,
    /// Then write the report beside the results, unless it is up to date, and print the table.
    #[arg(long)]
    report: bool,
}

/// One line on what was run and what is left.
fn outcome(results: &Results, ran: usize, selection: &JobSelection) -> String {
    let plan = results.plan;
    let (name, folder) = (&plan.experiment.name, plan.folder.display());
    let (total, left) = (plan.jobs.len(), plan.jobs.len() - results.count());
    match (ran, left) {
        (0, 0) => format!("{name}: nothing to do, all {total} jobs are done in {folder}"),
        (ran, 0) => format!("{name}: ran {ran} jobs into {folder}"),
        (0, left) => format!(
            "{name}: nothing to do{}; {left} of {total} jobs have no result in {folder}",
            reason(selection)
        ),
        (ran, left) => format!(
            "{name}: ran {ran} jobs into {folder}; {left} of {total} jobs have no result yet"
        ),
    }
}

/// Why a process has nothing to do although jobs are left.
fn reason(selection: &JobSelection) -> String {
    match (selection.limit, selection.shard) {
        (Some(0), _) => " (--limit 0)".into(),
        (_, Some(shard)) => format!(" in shard {shard}"),
        (_, None) => String::new(),
    }
}

/// Writes a preview's table and grid beside the results; returns what people read of them.
fn show_preview(results: &Results, project: &Project) -> Result<String> {
    let plan = results.plan;
    let evaluator = LazyEvaluator::new(plan, project);
    let table = Table::new(results, &evaluator)?;
    let folder = plan.folder.join("preview");
    let names = report::write_preview(results, &table, project, &folder)?;
    Ok(format!(
        "\n{}\n{}: a first look, in {}: {}. Distances of so few pictures are too large; the whole \
         run goes on now. Ctrl-C keeps what is there.\n",
        markdown::markdown(&table),
        plan.experiment.name,
        folder.display(),
        names.join(", ")
    ))
}

/// Ends the command after a signal that came when all jobs were done.
fn stop_before_report(plan: &Plan) -> Result<()> {
    signal::stop_if_requested(|| {
        format!(
            "interrupted: all {} jobs are done; the same command goes on with the report ({})",
            plan.jobs.len(),
            plan.folder.display()
        )
    })
}

/// Runs the command.
///
/// # Errors
/// Those of [`ExperimentArgs::pinned_plan`], [`run_plan_after_preview`] and, with `--report`,
/// [`Output`].
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.pinned_plan(project)?;
    let mut results = Results::read(&plan);
    let resources = Resources {
        devices: args.devices.clone(),
        workers: args.workers,
        save_every: args.save_every.unwrap_or(plan.experiment.save_every),
    };
    let selection = JobSelection {
        shard: args.shard,
        only: None,
        limit: args.limit,
    };
    plan.check(project)?;
    for note in plan.notes() {
        writeln!(log(), "{}: {note}", plan.experiment.name);
    }
    let show = |results: &Results| show_preview(results, project);
    let preview = args.preview.map(|pictures| PreviewRequest {
        pictures,
        show: &show,
    });
    let ran = run_plan_after_preview(
        &mut results,
        project,
        &resources,
        &selection,
        preview.as_ref(),
    )?;
    writeln!(log(), "{}", outcome(&results, ran, &selection));
    if !args.report {
        return Ok(());
    }
    stop_before_report(&plan)?;
    let output = Output::new(&results, project, &args.experiment)?;
    stop_before_report(&plan)?;
    output.update_report()?;
    output.print_table(TableFormat::Markdown)
}
