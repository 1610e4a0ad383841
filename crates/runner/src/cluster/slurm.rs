//! Slurm's commands.

use crate::error::{Problem, one_line};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::process::Command;

/// Runs one of Slurm's programs; what it complains of is passed on in one line.
fn ask(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Problem::user(format!(
            "no {program} on the path: run this on a machine of a Slurm cluster, or share the work by hand (egsde run --shard, egsde merge)"
        )),
        _ => Problem::user(format!("cannot run {program}: {error}")),
    })?;
    if output.status.success() {
        return String::from_utf8(output.stdout)
            .with_context(|| format!("{program} does not answer in UTF-8"));
    }
    let said = [output.stderr, output.stdout].concat();
    Err(Problem::user(format!(
        "Slurm refuses ({program}): {}",
        one_line(&String::from_utf8_lossy(&said))
    )))
}

/// How much Slurm takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tasks of one array.
    pub array: usize,
    /// Jobs and tasks it holds at all.
    pub jobs: usize,
}

impl Limits {
    /// Slurm's defaults.
    pub const DEFAULT: Self = Self {
        array: 1001,
        jobs: 10_000,
    };

    /// From `scontrol show config`.
    pub fn ask() -> Result<Self> {
        Ok(Self::parse(&ask("scontrol", &["show", "config"])?))
    }

    fn parse(config: &str) -> Self {
        let value = |key: &str| {
            let mut pairs = config.lines().filter_map(|l| l.split_once('='));
            pairs
                .find(|(k, _)| k.trim() == key)
                .and_then(|(_, v)| v.trim().parse().ok())
        };
        Self {
            array: value("MaxArraySize").unwrap_or(Self::DEFAULT.array),
            jobs: value("MaxJobCount").unwrap_or(Self::DEFAULT.jobs),
        }
    }
}

/// Submits a script with its arguments; returns the job's number.
pub fn submit(script: &std::path::Path, options: &[String], args: &[String]) -> Result<u64> {
    let mut all: Vec<&str> = vec!["--parsable"];
    all.extend(options.iter().map(String::as_str));
    all.push(script.to_str().context("the script's path is not UTF-8")?);
    all.extend(args.iter().map(String::as_str));
    let answer = ask("sbatch", &all)?;
    // With several clusters: number;cluster.
    let number = answer.trim().split(';').next().unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("sbatch answered {answer:?}, expected a job's number"))
}

/// What the queue says of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT, ...
    pub state: String,
    pub reason: String,
}

impl Task {
    /// Whether it has yet to run, or runs.
    pub fn lives(&self) -> bool {
        matches!(
            self.state.as_str(),
            "PENDING"
                | "RUNNING"
                | "CONFIGURING"
                | "COMPLETING"
                | "SUSPENDED"
                | "STOPPED"
                | "RESIZING"
                | "SIGNALING"
                | "STAGE_OUT"
        ) || self.state.starts_with("REQUEUE")
    }
}

/// The user's jobs that Slurm remembers, also those that ended a while ago: (array's or job's number, index in its array).
#[derive(Debug, Default)]
pub struct Queue(BTreeMap<(u64, Option<usize>), Task>);

impl Queue {
    /// From `squeue`.
    pub fn ask() -> Result<Self> {
        let fields = "--format=%F|%K|%T|%r";
        Ok(Self::parse(&ask(
            "squeue",
            &["--me", "--array", "--noheader", "--states=all", fields],
        )?))
    }

    fn parse(lines: &str) -> Self {
        let task = |line: &str| {
            let mut fields = line.trim().split('|');
            let (job, index, state) = (
                fields.next()?.parse().ok()?,
                fields.next()?.parse().ok(),
                fields.next()?.to_string(),
            );
            Some((
                (job, index),
                Task {
                    state,
                    reason: fields.next().unwrap_or_default().to_string(),
                },
            ))
        };
        Self(lines.lines().filter_map(task).collect())
    }

    /// A task of an array, or a job that is none.
    pub fn get(&self, job: u64, index: Option<usize>) -> Option<&Task> {
        self.0.get(&(job, index))
    }
}

/// Takes jobs out of the queue and ends those that run.
pub fn cancel(jobs: &[u64]) -> Result<()> {
    let numbers: Vec<String> = jobs.iter().map(u64::to_string).collect();
    ask(
        "scancel",
        &numbers.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .map(|_| ())
}

/// Puts the job this process runs in back into the queue; Slurm then ends the process.
pub fn requeue(job: &str) -> Result<()> {
    ask("scontrol", &["requeue", job]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let config =
            "MaxArraySize            = 501\nMaxJobCount             = 10000\nMaxJobId = 67043328\n";
        assert_eq!(
            Limits::parse(config),
            Limits {
                array: 501,
                jobs: 10_000
            }
        );
        assert_eq!(Limits::parse("nothing"), Limits::DEFAULT);
        let queue = Queue::parse(
            "12|0|RUNNING|None\n12|1|PENDING|Resources\n13|N/A|PENDING|Dependency\nnonsense\n",
        );
        assert_eq!(queue.get(12, Some(1)).unwrap().reason, "Resources");
        assert!(queue.get(12, Some(0)).unwrap().lives() && queue.get(13, None).unwrap().lives());
        assert!(queue.get(12, Some(2)).is_none());
        assert!(
            !Task {
                state: "OUT_OF_MEMORY".into(),
                reason: String::new()
            }
            .lives()
        );
    }
}
