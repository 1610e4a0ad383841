//! How the command line names an experiment and changes its keys.

use crate::config::experiment::Experiment;
use crate::config::overrides::Assignment;
use crate::config::precision::Precision;
use crate::error::invalid_input;
use crate::inputs::task::Task;
use crate::paths::path_parser;
use crate::plan::Plan;
use crate::project::Project;
use crate::runtime::console::log;
use anyhow::Result;
use egsde_data::nearest::offer_path;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// An experiment of more jobs than this needs `--yes`.
const MANY_JOBS: usize = 10_000;

/// An experiment file and changes to its keys.
#[derive(Debug, Clone, Serialize, Deserialize, clap::Args)]
pub struct ExperimentArgs {
    /// Experiment file, for example experiments/table1.yaml.
    #[arg(value_parser = path_parser())]
    experiment: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    changes: ExperimentChanges,
}

/// Changes to the keys of an experiment file.
#[derive(Debug, Clone, Serialize, Deserialize, clap::Args)]
pub struct ExperimentChanges {
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

/// Another file that may be meant by an experiment that is not there: the same name with its ending
/// or in the project's folder of experiments, or the nearest name.
fn offer_experiment(path: &Path, project: &Project) -> String {
    let mut with_ending = path.as_os_str().to_owned();
    with_ending.push(".yaml");
    let with_ending = PathBuf::from(with_ending);
    let experiments = project.resolve("experiments");
    let candidates = [
        with_ending.clone(),
        experiments.join(path),
        experiments.join(with_ending),
    ];
    match candidates.iter().find(|candidate| candidate.is_file()) {
        Some(found) => format!("; did you mean {}?", found.display()),
        None => offer_path(path),
    }
}

impl ExperimentChanges {
    /// All changes to keys.
    fn assignments(&self) -> Result<Vec<Assignment>> {
        let sets = self.sets.iter().map(|set| Assignment::from_set(set));
        let mut changes = sets.collect::<Result<Vec<_>>>()?;
        for (option, key, value) in self.short_forms() {
            changes.push(Assignment {
                typed: format!("{option} {value}"),
                key: key.into(),
                value: match key {
                    "seeds" => format!("[{value}]"),
                    _ => value,
                },
            });
        }
        Ok(changes)
    }

    /// The options that are short for a change: option, key and value as they are typed.
    fn short_forms(&self) -> Vec<(&'static str, &'static str, String)> {
        let mut forms = Vec::new();
        if !self.seeds.is_empty() {
            let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
            forms.push(("--seeds", "seeds", seeds.join(",")));
        }
        if let Some(precision) = self.precision {
            forms.push(("--precision", "precision", precision.to_string()));
        }
        if let Some(batch_size) = self.batch_size {
            forms.push(("--batch-size", "batch_size", batch_size.to_string()));
        }
        forms
    }
}

impl ExperimentArgs {
    /// A file with these changes to its keys.
    pub fn new(experiment: &Path, changes: &ExperimentChanges) -> Self {
        Self {
            experiment: experiment.to_owned(),
            changes: changes.clone(),
        }
    }

    /// The file and all options as a shell reads them, for advice on what to type next.
    pub fn words(&self) -> String {
        let mut words = vec![self.experiment.display().to_string()];
        for set in &self.changes.sets {
            words.extend(["--set".into(), set.clone()]);
        }
        for (option, _, value) in self.changes.short_forms() {
            words.extend([option.into(), value]);
        }
        if self.changes.yes {
            words.push("--yes".into());
        }
        let quoted = shlex::try_join(words.iter().map(String::as_str));
        quoted.unwrap_or_else(|_| words.join(" "))
    }

    /// The same for a process that runs in the project's folder.
    ///
    /// # Errors
    /// The working folder is not known.
    pub fn from_project_folder(&self, project: &Project) -> Result<Self> {
        Ok(Self {
            experiment: project.relative(&self.experiment)?,
            ..self.clone()
        })
    }

    /// The experiment with its changes, checked.
    ///
    /// # Errors
    /// Invalid input: a mistake in the file or a change, or many jobs without `--yes`.
    pub fn experiment(&self, project: &Project) -> Result<Experiment> {
        let path = &self.experiment;
        // A link that leads nowhere is told about when it is read.
        if !path.exists() && !path.is_symlink() {
            return Err(invalid_input(format!(
                "no experiment {}{}",
                path.display(),
                offer_experiment(path, project)
            )));
        }
        let experiment = Experiment::read(path, project, &self.changes.assignments()?)?;
        let jobs = experiment.methods.len() * experiment.seeds.len();
        if jobs > MANY_JOBS && !self.changes.yes {
            return Err(invalid_input(format!(
                "{} has {jobs} jobs, more than {MANY_JOBS}: add --yes if you mean it",
                self.experiment.display()
            )));
        }
        Ok(experiment)
    }

    /// Its jobs. Where there are results, published files that no pin knows are hashed: the hashes
    /// are part of what a job is, and pins do not always come along with results.
    ///
    /// # Errors
    /// Those of [`ExperimentArgs::experiment`] and [`Plan::new`].
    pub fn plan(&self, project: &Project) -> Result<Plan> {
        let experiment = self.experiment(project)?;
        if experiment.folder(project).is_dir() {
            Task::read(project, &experiment.task)?.learn(project)?;
        }
        Plan::new(experiment, project)
    }

    /// Its jobs, after published files that are seen for the first time were pinned: their hashes
    /// are part of what a job is.
    ///
    /// # Errors
    /// Those of [`ExperimentArgs::plan`] and [`Task::pin`].
    pub fn pinned_plan(&self, project: &Project) -> Result<Plan> {
        let experiment = self.experiment(project)?;
        for line in Task::read(project, &experiment.task)?.pin(project)? {
            writeln!(log(), "{line}");
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
        let changes = parse(&options).unwrap().changes.assignments().unwrap();
        let keys: Vec<String> = changes
            .iter()
            .map(|change| format!("{}={} by {}", change.key, change.value, change.typed))
            .collect();
        assert_eq!(
            keys,
            [
                "batch_size=8 by --set batch_size=8",
                "seeds=[3,4] by --seeds 3,4",
                "batch_size=2 by --batch-size 2"
            ]
        );
    }

    #[test]
    fn advice_repeats_the_options_as_a_shell_reads_them() {
        let options = ["--set", "title=two words", "--seeds", "3,4", "--yes"];
        assert_eq!(
            parse(&options).unwrap().words(),
            "experiments/ci.yaml --set 'title=two words' --seeds '3,4' --yes"
        );
    }

    #[test]
    fn a_batch_of_nothing_is_refused() {
        let error = parse(&["--batch-size", "0"]).unwrap_err().to_string();
        assert!(error.contains("must be at least 1"), "{error}");
    }
}
