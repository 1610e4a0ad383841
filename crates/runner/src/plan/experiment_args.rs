//! How the command line names an experiment and changes its keys.

use crate::config::experiment::Experiment;
use crate::config::precision::Precision;
use crate::error::invalid_input;
use crate::inputs::task::Task;
use crate::plan::Plan;
use crate::project::Project;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// An experiment of more jobs than this needs `--yes`.
const MANY_JOBS: usize = 10_000;

/// An experiment file and changes to its keys.
#[derive(Debug, Clone, Serialize, Deserialize, clap::Args)]
pub struct ExperimentArgs {
    /// Experiment file, for example experiments/table1.yaml.
    experiment: PathBuf,
    /// Change a key: pictures=64, runs_dir=/data/runs, methods.EGSDE.lambda_s=30.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Seeds instead of the file's.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Working precision instead of the file's.
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// The batch that the networks see instead of the file's; another batch is another job.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    batch_size: Option<usize>,
    /// Go on with more than 10,000 jobs.
    #[arg(long)]
    yes: bool,
}

/// Reads a count of at least 1 from the command line.
///
/// # Errors
/// The text is no whole number, or 0.
pub fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("expected a whole number of at least 1".into()),
    }
}

impl ExperimentArgs {
    /// All changes to keys, as `--set` spells them.
    fn assignments(&self) -> Vec<String> {
        let mut assignments = self.sets.clone();
        if !self.seeds.is_empty() {
            let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
            assignments.push(format!("seeds=[{}]", seeds.join(", ")));
        }
        if let Some(precision) = self.precision {
            assignments.push(format!("precision={precision}"));
        }
        if let Some(batch_size) = self.batch_size {
            assignments.push(format!("batch_size={batch_size}"));
        }
        assignments
    }

    /// The experiment with its changes, checked.
    ///
    /// # Errors
    /// Invalid input: a mistake in the file or a change, or many jobs without `--yes`.
    pub fn experiment(&self, project: &Project) -> Result<Experiment> {
        let experiment = Experiment::read(&self.experiment, project, &self.assignments())?;
        let jobs = experiment.methods.len() * experiment.seeds.len();
        if jobs > MANY_JOBS && !self.yes {
            return Err(invalid_input(format!(
                "{} has {jobs} jobs, more than {MANY_JOBS}: add --yes if you mean it",
                self.experiment.display()
            )));
        }
        Ok(experiment)
    }

    /// Its jobs.
    ///
    /// # Errors
    /// Those of [`ExperimentArgs::experiment`] and [`Plan::new`].
    pub fn plan(&self, project: &Project) -> Result<Plan> {
        Plan::new(self.experiment(project)?, project)
    }

    /// Its jobs, after published files that are seen for the first time were pinned: their hashes
    /// are part of what a job is.
    ///
    /// # Errors
    /// Those of [`ExperimentArgs::plan`] and [`Task::pin`].
    pub fn pinned_plan(&self, project: &Project) -> Result<Plan> {
        let experiment = self.experiment(project)?;
        for line in Task::read(project, &experiment.task)?.pin(project)? {
            eprintln!("{line}");
        }
        Plan::new(experiment, project)
    }

    /// Its file, as the command line names it.
    pub fn file(&self) -> &Path {
        &self.experiment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        experiment: ExperimentArgs,
    }

    fn parse(options: &[&str]) -> Result<ExperimentArgs, clap::Error> {
        let words = ["egsde", "experiments/ci.yaml"].iter().chain(options);
        CommandLine::try_parse_from(words).map(|line| line.experiment)
    }

    #[test]
    fn options_become_keys_of_the_experiment() {
        let options = [
            "--set",
            "batch_size=8",
            "--seeds",
            "3,4",
            "--batch-size",
            "2",
        ];
        let assignments = parse(&options).unwrap().assignments();
        assert_eq!(
            assignments,
            ["batch_size=8", "seeds=[3, 4]", "batch_size=2"]
        );
    }

    #[test]
    fn a_batch_of_nothing_is_refused() {
        let error = parse(&["--batch-size", "0"]).unwrap_err().to_string();
        assert!(error.contains("must be at least 1"), "{error}");
    }
}
