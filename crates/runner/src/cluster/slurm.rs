//! Slurm's own commands.

use crate::error::{invalid_input, one_line};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// Runs one of Slurm's programs and returns its output. A complaint of it becomes one line.
fn call(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => invalid_input(format!(
            "no {program} on the path: run this on a machine of a Slurm cluster, or share the work \
             by hand (egsde run --shard, egsde merge)"
        )),
        _ => invalid_input(format!("cannot run {program}: {error}")),
    })?;
    if output.status.success() {
        let text = String::from_utf8(output.stdout);
        return text.with_context(|| format!("{program} does not answer in UTF-8"));
    }
    let complaint = [output.stderr, output.stdout].concat();
    let complaint = one_line(&String::from_utf8_lossy(&complaint));
    Err(invalid_input(format!(
        "Slurm refuses ({program}): {complaint}"
    )))
}

/// How much Slurm takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tasks of one array (MaxArraySize).
    pub array_size: usize,
    /// Jobs and tasks that Slurm holds in all (MaxJobCount).
    pub job_count: usize,
}

/// A number of `scontrol show config`.
fn config_number(config: &str, key: &str) -> Option<usize> {
    let mut pairs = config.lines().filter_map(|line| line.split_once('='));
    let (_, value) = pairs.find(|(found, _)| found.trim() == key)?;
    value.trim().parse().ok()
}

impl Limits {
    /// Slurm's defaults.
    pub const DEFAULT: Self = Self {
        array_size: 1001,
        job_count: 10_000,
    };

    /// Those of this cluster, from `scontrol show config`.
    ///
    /// # Errors
    /// Invalid input: there is no `scontrol`, or it refuses.
    pub fn query() -> Result<Self> {
        Ok(Self::parse(&call("scontrol", &["show", "config"])?))
    }

    fn parse(config: &str) -> Self {
        let Self {
            array_size,
            job_count,
        } = Self::DEFAULT;
        Self {
            array_size: config_number(config, "MaxArraySize").unwrap_or(array_size),
            job_count: config_number(config, "MaxJobCount").unwrap_or(job_count),
        }
    }
}

/// Submits a script with its argument; returns the job's number.
///
/// # Errors
/// Invalid input: there is no `sbatch`, or it refuses.
pub fn submit(script: &Path, options: &[String], argument: &str) -> Result<u64> {
    let mut words: Vec<&str> = vec!["--parsable"];
    words.extend(options.iter().map(String::as_str));
    words.push(script.to_str().context("the script's path is not UTF-8")?);
    words.push(argument);
    let answer = call("sbatch", &words)?;
    // With several clusters the answer is number;cluster.
    let number = answer.trim().split(';').next().unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("sbatch answered {answer:?}, expected a job's number"))
}

/// One entry of the queue: a task of an array, or a job that is no array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// The job's or array's number.
    pub job: u64,
    /// The task's index in its array; none of a job that is no array.
    pub index: Option<usize>,
}

/// The states of an entry that has yet to run or runs, besides those that begin with REQUEUE.
const ACTIVE: [&str; 9] = [
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "RESIZING",
    "SIGNALING",
    "STAGE_OUT",
];

/// What the queue tells about one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT, ...
    pub state: String,
    /// Why it waits or ended.
    pub reason: String,
}

impl QueueEntry {
    /// Whether it has yet to run, or runs.
    pub fn is_active(&self) -> bool {
        ACTIVE.contains(&self.state.as_str()) || self.state.starts_with("REQUEUE")
    }
}

/// The user's jobs that Slurm remembers, also those that ended a while ago.
#[derive(Debug, Default)]
pub struct Queue(BTreeMap<EntryId, QueueEntry>);

/// One line of `squeue`; none of a line in another format.
fn parse_line(line: &str) -> Option<(EntryId, QueueEntry)> {
    let mut fields = line.trim().split('|');
    let id = EntryId {
        job: fields.next()?.parse().ok()?,
        index: fields.next()?.parse().ok(),
    };
    let state = fields.next()?.to_string();
    Some((
        id,
        QueueEntry {
            state,
            reason: fields.next().unwrap_or_default().to_string(),
        },
    ))
}

impl Queue {
    /// Reads the queue with `squeue`.
    ///
    /// # Errors
    /// Invalid input: there is no `squeue`, or it refuses.
    pub fn query() -> Result<Self> {
        let fields = "--format=%F|%K|%T|%r";
        let lines = call(
            "squeue",
            &["--me", "--array", "--noheader", "--states=all", fields],
        )?;
        Ok(Self::parse(&lines))
    }

    fn parse(lines: &str) -> Self {
        Self(lines.lines().filter_map(parse_line).collect())
    }

    /// What is known about an entry.
    pub fn get(&self, id: EntryId) -> Option<&QueueEntry> {
        self.0.get(&id)
    }
}

/// Takes jobs out of the queue and ends those that run.
///
/// # Errors
/// Invalid input: there is no `scancel`, or it refuses.
pub fn cancel(jobs: &[u64]) -> Result<()> {
    let numbers: Vec<String> = jobs.iter().map(u64::to_string).collect();
    call(
        "scancel",
        &numbers.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    Ok(())
}

/// Puts the job that this process runs in back into the queue; Slurm then ends the process.
///
/// # Errors
/// Invalid input: there is no `scontrol`, or it refuses.
pub fn requeue(job: &str) -> Result<()> {
    call("scontrol", &["requeue", job])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let config = "MaxArraySize            = 501\nMaxJobCount             = 10000\n\
                      MaxJobId = 67043328\n";
        assert_eq!(
            Limits::parse(config),
            Limits {
                array_size: 501,
                job_count: 10_000
            }
        );
        assert_eq!(Limits::parse("nothing"), Limits::DEFAULT);
        let lines = "12|0|RUNNING|None\n12|1|PENDING|Resources\n13|N/A|PENDING|Dependency\n\
                     nonsense\n";
        let queue = Queue::parse(lines);
        let entry = |job, index| queue.get(EntryId { job, index });
        assert_eq!(entry(12, Some(1)).unwrap().reason, "Resources");
        assert!(entry(12, Some(0)).unwrap().is_active() && entry(13, None).unwrap().is_active());
        assert!(entry(12, Some(2)).is_none());
        let ended = QueueEntry {
            state: "OUT_OF_MEMORY".into(),
            reason: String::new(),
        };
        assert!(!ended.is_active());
    }
}
