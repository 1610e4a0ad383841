//! The command line's way to name an experiment.

use crate::error::Problem;
use crate::plan::Plan;
use crate::spec::{Experiment, Precision};
use crate::task::Task;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// More jobs than this are asked about.
const MANY_JOBS: usize = 10_000;

/// What names an experiment and changes its keys.
#[derive(Debug, Clone, Serialize, Deserialize, clap::Args)]
pub struct Which {
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
    /// Go on with more than 10,000 jobs.
    #[arg(long)]
    yes: bool,
}

impl Which {
    /// The experiment, checked. Errors exit with 2.
    pub fn experiment(&self, root: &Path) -> Result<Experiment> {
        let mut sets = self.sets.clone();
        if !self.seeds.is_empty() {
            sets.push(format!("seeds={:?}", self.seeds));
        }
        if let Some(precision) = &self.precision {
            sets.push(format!("precision={precision}"));
        }
        let spec = Experiment::read(&self.experiment, root, &sets)?;
        let jobs = spec.methods.len() * spec.seeds.len();
        if jobs > MANY_JOBS && !self.yes {
            return Err(Problem::user(format!(
                "{} has {jobs} jobs, more than {MANY_JOBS}: add --yes if you mean it",
                self.experiment.display()
            )));
        }
        Ok(spec)
    }

    /// Its jobs. Errors exit with 2.
    pub fn plan(&self, root: &Path) -> Result<Plan> {
        Plan::new(self.experiment(root)?, root)
    }

    /// Its jobs, after published files seen for the first time were pinned: that is part of what a job is. Errors exit with 2.
    pub fn pinned_plan(&self, root: &Path) -> Result<Plan> {
        let spec = self.experiment(root)?;
        Task::read(root, &spec.task)?
            .pin(root)?
            .iter()
            .for_each(|line| eprintln!("{line}"));
        Plan::new(spec, root)
    }

    /// Its file, as it was named.
    pub fn file(&self) -> &Path {
        &self.experiment
    }
}
