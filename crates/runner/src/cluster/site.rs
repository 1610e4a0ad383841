//! How a site wants its jobs: a file `clusters/NAME.yaml`, overruled by options of the command line.

use crate::error::Problem;
use crate::yaml::{names_in, offer, read_yaml};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Pictures that make a task long enough to be worth its start, when nobody says how many.
const PICTURES_PER_TASK: usize = 500;

/// Seconds before the end of a task's time at which it is told to stop.
const MARGIN: usize = 120;

/// Times a task goes on after its time was over, before it counts as failed.
const MOST_RESTARTS: usize = 50;

/// Keys of a file in `clusters/`; each but `prologue` is also an option of `egsde submit`. Slurm's own are passed on as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Site {
    /// Slurm partition.
    #[arg(long)]
    pub partition: Option<String>,
    /// Slurm account.
    #[arg(long)]
    pub account: Option<String>,
    /// Slurm quality of service.
    #[arg(long)]
    pub qos: Option<String>,
    /// Features the nodes must have.
    #[arg(long)]
    pub constraint: Option<String>,
    /// Partition of the job that collects, which needs no GPU (the tasks' own).
    #[arg(long)]
    pub collect_partition: Option<String>,
    /// Resources of a task, for example gpu:1.
    #[arg(long)]
    pub gres: Option<String>,
    /// Time limit of a task, for example 04:00:00; a task that meets it is requeued and goes on.
    #[arg(long)]
    pub time: Option<String>,
    /// Memory of a task, for example 16G.
    #[arg(long)]
    pub mem: Option<String>,
    /// Processor cores of a task, and its threads.
    #[arg(long)]
    pub cpus_per_task: Option<usize>,
    /// Tasks that may run at one time.
    #[arg(long)]
    pub max_parallel: Option<usize>,
    /// Where a task computes: cpu, cuda:0, or several.
    #[arg(long)]
    pub device: Option<String>,
    /// Pictures between two writes instead of the file's; a task that must stop finishes its batch, so it should fit the margin.
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Pictures a task should have at least (500).
    #[arg(long)]
    pub pictures_per_task: Option<usize>,
    /// How many tasks, instead of counting pictures.
    #[arg(long)]
    pub tasks: Option<usize>,
    /// Seconds before the end of its time at which a task is told to stop (120).
    #[arg(long)]
    pub margin: Option<usize>,
    /// Times a task may go on after its time was over (50).
    #[arg(long)]
    pub most_restarts: Option<usize>,
    /// Any other option of sbatch, for example --sbatch=--exclude=node7.
    #[arg(long = "sbatch", value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// Shell lines before a task begins (module load ...). In the file only.
    #[arg(skip)]
    pub prologue: Vec<String>,
}

impl Site {
    /// `clusters/NAME.yaml`. Errors exit with 2.
    pub fn read(root: &Path, name: &str) -> Result<Self> {
        let path = root.join("clusters").join(format!("{name}.yaml"));
        if !path.is_file() {
            let names = names_in(&root.join("clusters"));
            let near = offer(name, names.iter().map(String::as_str));
            return Err(Problem::user(format!(
                "no site `{name}`: clusters/ has {}{near}",
                names.join(", ")
            )));
        }
        read_yaml(&path)
    }

    /// This one where it says something, `other` elsewhere; other options of sbatch and shell lines are put together.
    pub fn over(self, other: Self) -> Self {
        Self {
            partition: self.partition.or(other.partition),
            account: self.account.or(other.account),
            qos: self.qos.or(other.qos),
            constraint: self.constraint.or(other.constraint),
            collect_partition: self.collect_partition.or(other.collect_partition),
            gres: self.gres.or(other.gres),
            time: self.time.or(other.time),
            mem: self.mem.or(other.mem),
            cpus_per_task: self.cpus_per_task.or(other.cpus_per_task),
            max_parallel: self.max_parallel.or(other.max_parallel),
            device: self.device.or(other.device),
            batch_size: self.batch_size.or(other.batch_size),
            pictures_per_task: self.pictures_per_task.or(other.pictures_per_task),
            tasks: self.tasks.or(other.tasks),
            margin: self.margin.or(other.margin),
            most_restarts: self.most_restarts.or(other.most_restarts),
            sbatch: [other.sbatch, self.sbatch].concat(),
            prologue: [other.prologue, self.prologue].concat(),
        }
    }

    /// Refuses counts of 0 and anything that would begin a new line of the script. Errors exit with 2.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("cpus_per_task", self.cpus_per_task),
            ("max_parallel", self.max_parallel),
            ("batch_size", self.batch_size),
            ("pictures_per_task", self.pictures_per_task),
            ("tasks", self.tasks),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, n)| *n == Some(0)) {
            return Err(Problem::user(format!("{key} is 0: must be at least 1")));
        }
        match self
            .options()
            .iter()
            .find(|o| o.chars().any(char::is_control))
        {
            Some(option) => Err(Problem::user(format!(
                "{option:?} is no option of sbatch: it has a line end or control character"
            ))),
            None => Ok(()),
        }
    }

    /// Options for sbatch of every task.
    pub fn options(&self) -> Vec<String> {
        let cpus = self.cpus_per_task.map(|n| n.to_string());
        let named = [
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("constraint", &self.constraint),
            ("gres", &self.gres),
            ("time", &self.time),
            ("mem", &self.mem),
            ("cpus-per-task", &cpus),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some(format!("--{key}={}", value.as_ref()?)));
        named.chain(self.sbatch.iter().cloned()).collect()
    }

    /// Pictures a task should have at least.
    pub fn pictures(&self) -> usize {
        self.pictures_per_task.unwrap_or(PICTURES_PER_TASK)
    }

    /// Seconds before the end of its time at which a task is told to stop.
    pub fn margin(&self) -> usize {
        self.margin.unwrap_or(MARGIN)
    }

    /// Times a task may go on after its time was over.
    pub fn restarts(&self) -> usize {
        self.most_restarts.unwrap_or(MOST_RESTARTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_overrules_the_file() {
        let file = Site {
            partition: Some("long".into()),
            mem: Some("8G".into()),
            sbatch: vec!["--nice".into()],
            ..Default::default()
        };
        let typed = Site {
            partition: Some("short".into()),
            sbatch: vec!["--exclude=n7".into()],
            ..Default::default()
        };
        let site = typed.over(file);
        assert_eq!(
            site.options(),
            ["--partition=short", "--mem=8G", "--nice", "--exclude=n7"]
        );
        assert!(site.check().is_ok());
    }

    #[test]
    fn what_would_break_the_script_is_refused() {
        let site = Site {
            partition: Some("a\nrm -r /".into()),
            ..Default::default()
        };
        assert!(
            site.check()
                .unwrap_err()
                .to_string()
                .contains("no option of sbatch")
        );
        let site = Site {
            tasks: Some(0),
            ..Default::default()
        };
        assert!(site.check().unwrap_err().to_string().contains("tasks is 0"));
    }
}
