//! `egsde run`: the unfinished jobs of an experiment.

use super::output::{Output, TableFormat};
use crate::plan::experiment_args::{ExperimentArgs, parse_count};
use crate::project::Project;
use crate::run::scheduler::{JobSelection, Resources, Shard, run_plan};
use crate::runtime::console::log;
use crate::runtime::device::open_device;
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
    /// Pictures between two writes instead of the file's; never changes a result.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    save_every: Option<usize>,
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

/// Runs the command.
///
/// # Errors
/// Those of [`ExperimentArgs::pinned_plan`], [`run_plan`] and, with `--report`, [`Output`].
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.pinned_plan(project)?;
    let mut results = Results::read(&plan);
    let resources = Resources {
        devices: args.devices.clone(),
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
    let ran = run_plan(&mut results, project, &resources, &selection)?;
    writeln!(log(), "{}", outcome(&results, ran, &selection));
    if !args.report {
        return Ok(());
    }
    let output = Output::new(&results, project, &args.experiment)?;
    output.update_report()?;
    output.print_table(TableFormat::Markdown)
}
