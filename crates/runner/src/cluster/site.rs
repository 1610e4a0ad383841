//! How a site wants its jobs: a file `configs/clusters/NAME.yaml`, overruled by options of the
//! command line.

use crate::error::invalid_input;
use crate::project::Project;
use crate::yaml::{names_in, read_yaml};
use anyhow::Result;
use egsde_data::nearest::offer;
use serde::{Deserialize, Serialize};

/// Images that make a task long enough to be worth its start.
const PICTURES_PER_TASK: usize = 500;

/// Seconds before the end of a task's time at which it is told to stop.
const MARGIN: usize = 120;

/// Times a task goes on after its time was over, before it counts as failed.
const MOST_RESTARTS: usize = 50;

/// Keys of a file in `configs/clusters/`; each but `prologue` is also an option of `egsde submit`.
/// Slurm's own are passed on as they are.
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
    /// Pictures between two writes instead of the file's; a task that must stop finishes these, so
    /// they should fit the margin.
    #[arg(long, value_name = "N")]
    pub save_every: Option<usize>,
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
    /// Reads `configs/clusters/NAME.yaml`.
    ///
    /// # Errors
    /// Invalid input: there is no such file, or a mistake in it.
    pub fn read(project: &Project, name: &str) -> Result<Self> {
        let path = project.cluster_file(name);
        if !path.is_file() {
            let names = names_in(&project.clusters());
            let offer = offer(name, names.iter().map(String::as_str));
            let known = names.join(", ");
            return Err(invalid_input(format!(
                "no site `{name}`: configs/clusters/ has {known}{offer}"
            )));
        }
        read_yaml(&path)
    }

    /// These settings where they are given, those of `file` elsewhere. Other options of sbatch and
    /// shell lines are put together.
    pub fn overruling(self, file: Self) -> Self {
        Self {
            partition: self.partition.or(file.partition),
            account: self.account.or(file.account),
            qos: self.qos.or(file.qos),
            constraint: self.constraint.or(file.constraint),
            collect_partition: self.collect_partition.or(file.collect_partition),
            gres: self.gres.or(file.gres),
            time: self.time.or(file.time),
            mem: self.mem.or(file.mem),
            cpus_per_task: self.cpus_per_task.or(file.cpus_per_task),
            max_parallel: self.max_parallel.or(file.max_parallel),
            device: self.device.or(file.device),
            save_every: self.save_every.or(file.save_every),
            pictures_per_task: self.pictures_per_task.or(file.pictures_per_task),
            tasks: self.tasks.or(file.tasks),
            margin: self.margin.or(file.margin),
            most_restarts: self.most_restarts.or(file.most_restarts),
            sbatch: [file.sbatch, self.sbatch].concat(),
            prologue: [file.prologue, self.prologue].concat(),
        }
    }

    /// Refuses what no task could run with.
    ///
    /// # Errors
    /// Invalid input: a count of 0, or an option that would begin a new line of the script.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("cpus_per_task", self.cpus_per_task),
            ("max_parallel", self.max_parallel),
            ("save_every", self.save_every),
            ("pictures_per_task", self.pictures_per_task),
            ("tasks", self.tasks),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
            return Err(invalid_input(format!("{key} is 0: must be at least 1")));
        }
        match self
            .options()
            .iter()
            .find(|option| option.chars().any(char::is_control))
        {
            Some(option) => Err(invalid_input(format!(
                "{option:?} is no option of sbatch: it has a line end or control character"
            ))),
            None => Ok(()),
        }
    }

    /// Options of sbatch for every task.
    pub fn options(&self) -> Vec<String> {
        let cpus = self.cpus_per_task.map(|count| count.to_string());
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
        let mut options = Vec::new();
        for (key, value) in named {
            options.extend(value.as_ref().map(|value| format!("--{key}={value}")));
        }
        options.extend(self.sbatch.iter().cloned());
        options
    }

    /// Names of the devices on which a task computes.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.device.as_deref().unwrap_or("cpu").split(',')
    }

    /// Images that a task should have at least.
    pub fn pictures_per_task(&self) -> usize {
        self.pictures_per_task.unwrap_or(PICTURES_PER_TASK)
    }

    /// Seconds before the end of its time at which a task is told to stop.
    pub fn margin(&self) -> usize {
        self.margin.unwrap_or(MARGIN)
    }

    /// Times a task may go on after its time was over.
    pub fn most_restarts(&self) -> usize {
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
            ..Site::default()
        };
        let typed = Site {
            partition: Some("short".into()),
            sbatch: vec!["--exclude=n7".into()],
            ..Site::default()
        };
        let site = typed.overruling(file);
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
            ..Site::default()
        };
        assert!(
            site.check()
                .unwrap_err()
                .to_string()
                .contains("no option of sbatch")
        );
        let site = Site {
            tasks: Some(0),
            ..Site::default()
        };
        assert!(site.check().unwrap_err().to_string().contains("tasks is 0"));
    }
}
