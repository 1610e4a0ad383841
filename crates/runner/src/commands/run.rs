//! `egsde run`: the unfinished jobs of an experiment.

use super::output::{Output, TableFormat};
use crate::plan::experiment_args::{ExperimentArgs, parse_count};
use crate::project::Project;
use crate::run::scheduler::{JobSelection, Resources, Shard, run_plan};
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
    let ran = run_plan(&mut results, project, &resources, &selection)?;
    let (name, folder) = (&plan.experiment.name, plan.folder.display());
    match ran {
        0 => {
            let total = plan.jobs.len();
            eprintln!("{name}: nothing to do, all {total} jobs are done in {folder}");
        }
        ran => eprintln!("{name}: ran {ran} jobs into {folder}"),
    }
    if !args.report {
        return Ok(());
    }
    let output = Output::new(&results, project, args.experiment.file())?;
    output.update_report()?;
    output.print_table(TableFormat::Markdown)
}
