//! `egsde explain`: where a row's numbers come from.

use crate::inputs::task::Task;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::store::job_dir::JobDir;
use crate::store::results::Results;
use anyhow::Result;
use egsde_sampler::generators::GeneratorName;
use serde::Serialize;
use std::collections::BTreeMap;

/// Arguments of `egsde explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Name of a row of the table.
    #[arg(long)]
    row: String,
}

/// The images and networks of a task, for people: a job's identity holds hashes only.
#[derive(Debug, Serialize)]
struct TaskFiles {
    source: String,
    reference: String,
    diffusion: String,
    extractor: String,
    features: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    generators: BTreeMap<GeneratorName, String>,
}

impl TaskFiles {
    fn new(task: &Task) -> Self {
        Self {
            source: task.source.description(),
            reference: task.reference.description(),
            diffusion: task.diffusion.description(),
            extractor: task.extractor.description(),
            features: task.features.description(),
            generators: (task.generators.iter())
                .map(|(name, file)| (*name, file.description()))
                .collect(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Invalid input: there is no such row, with the nearest name.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.plan(project)?;
    // A row's name is checked before anything is printed.
    plan.jobs_of_row(&args.row)?;
    let results = Results::read(&plan);
    writeln!(
        stdout(),
        "experiment: {} ({})",
        plan.experiment.name,
        plan.experiment.title
    )?;
    write!(
        stdout(),
        "{}",
        serde_yaml::to_string(&TaskFiles::new(&plan.task))?
    )?;
    for (place, job) in plan
        .jobs
        .iter()
        .enumerate()
        .filter(|(_, job)| job.row == args.row)
    {
        writeln!(
            stdout(),
            "---\njob: {}",
            JobDir::new(&plan.folder, job).path().display()
        )?;
        write!(stdout(), "{}", serde_yaml::to_string(&job.identity)?)?;
        match results.scores(place) {
            Some(scores) => write!(stdout(), "{}", serde_yaml::to_string(scores)?)?,
            None => writeln!(stdout(), "scores: not finished")?,
        }
    }
    Ok(())
}
