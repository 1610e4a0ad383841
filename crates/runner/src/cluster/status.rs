//! What Slurm tells about submissions, joined with what the store tells about their jobs.

use super::slurm::{Queue, QueueEntry};
use super::submission::{Submission, SubmissionFolder};
use crate::plan::Plan;
use anyhow::Result;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// A task that ended without all of its results.
#[derive(Debug, PartialEq, Eq)]
pub struct FailedTask {
    /// Its number in the submission.
    pub task: usize,
    /// Slurm's name of it, 12_3.
    pub name: String,
    /// Slurm's word; "gone" when Slurm remembers nothing about it.
    pub state: String,
    /// How many of its jobs have no result.
    pub unfinished: usize,
    /// Where its output went; empty when it was never submitted.
    pub log: PathBuf,
}

/// What became of one submission.
#[derive(Debug)]
pub struct Status {
    /// The submission's number.
    pub number: usize,
    /// How many tasks it has.
    pub tasks: usize,
    /// How many tasks are in which state: done, submitted again, or Slurm's word.
    pub states: BTreeMap<String, usize>,
    /// Tasks that ended without all of their results.
    pub failed: Vec<FailedTask>,
    /// Jobs whose tasks have yet to run, or run.
    pub underway: HashSet<String>,
    /// Slurm's word for the collecting job.
    pub collect: String,
}

/// Slurm's word for an entry, in lower case.
fn state_word(entry: Option<&QueueEntry>) -> String {
    entry.map_or("gone".into(), |entry| entry.state.to_lowercase())
}

impl Status {
    /// The status of one submission. `unfinished` are the jobs without results, `resubmitted` those
    /// of later submissions.
    fn new(
        folder: &SubmissionFolder,
        submission: &Submission,
        unfinished: &HashSet<&str>,
        resubmitted: &HashSet<&str>,
        queue: &Queue,
    ) -> Self {
        let numbers = folder.numbers();
        let mut status = Self {
            number: folder.number(),
            tasks: submission.tasks.len(),
            states: BTreeMap::new(),
            failed: Vec::new(),
            underway: HashSet::new(),
            collect: state_word(numbers.collect_entry(queue)),
        };
        for (task, jobs) in submission.tasks.iter().enumerate() {
            let entry = numbers.task_entry(task, queue);
            let left: Vec<&str> = jobs
                .iter()
                .map(String::as_str)
                .filter(|job| unfinished.contains(job))
                .collect();
            let is_resubmitted = left.iter().all(|job| resubmitted.contains(job));
            let state = match (left.is_empty(), is_resubmitted) {
                (true, _) => "done".into(),
                (false, true) => "submitted again".into(),
                (false, false) => state_word(entry),
            };
            *status.states.entry(state.clone()).or_default() += 1;
            if entry.is_some_and(QueueEntry::is_active) {
                status.underway.extend(jobs.iter().cloned());
            } else if !is_resubmitted {
                let place = numbers.locate(task);
                status.failed.push(FailedTask {
                    task,
                    name: place.map_or("never submitted".into(), |place| place.to_string()),
                    state,
                    unfinished: left.len(),
                    log: place.map(|place| folder.log(place)).unwrap_or_default(),
                });
            }
        }
        status
    }
}

/// The status of every submission of a plan's experiment, newest first. `unfinished` are the jobs
/// without results.
///
/// # Errors
/// Invalid input: a submission's file was changed.
pub fn read_all(plan: &Plan, unfinished: &HashSet<&str>, queue: &Queue) -> Result<Vec<Status>> {
    let mut submissions = Vec::new();
    for folder in SubmissionFolder::list(plan).into_iter().rev() {
        let submission = folder.submission()?;
        submissions.push((folder, submission));
    }
    let (mut resubmitted, mut statuses) = (HashSet::new(), Vec::new());
    for (folder, submission) in &submissions {
        statuses.push(Status::new(
            folder,
            submission,
            unfinished,
            &resubmitted,
            queue,
        ));
        resubmitted.extend(submission.tasks.iter().flatten().map(String::as_str));
    }
    Ok(statuses)
}
