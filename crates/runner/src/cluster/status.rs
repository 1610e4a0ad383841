//! What Slurm says of a submission, joined with what the store says of its jobs.

use super::slurm::Queue;
use super::submission::{Folder, Submission};
use crate::plan::Plan;
use crate::store::JobFolder;
use anyhow::Result;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// A task that ended without all of its results.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    pub task: usize,
    /// Slurm's name of it, 12_3.
    pub name: String,
    /// What Slurm says; "gone" when it remembers nothing of it.
    pub state: String,
    pub unfinished: usize,
    pub log: PathBuf,
}

/// One submission.
#[derive(Debug)]
pub struct Status {
    pub number: usize,
    pub tasks: usize,
    /// Tasks by what they are: done, or Slurm's word.
    pub states: BTreeMap<String, usize>,
    pub failed: Vec<Failed>,
    /// Jobs whose tasks have yet to run, or run.
    pub underway: HashSet<String>,
    /// What Slurm says of the collecting job.
    pub collect: String,
}

/// Names of the jobs without scores.
pub fn unfinished(plan: &Plan) -> HashSet<&str> {
    let open = plan
        .jobs
        .par_iter()
        .filter(|j| !JobFolder::of(&plan.folder, j).has_scores());
    open.map(|j| j.id.as_str()).collect()
}

impl Status {
    /// Of one submission; `open` are the jobs without scores, `newer` those of later submissions.
    pub fn of(
        folder: &Folder,
        submission: &Submission,
        open: &HashSet<&str>,
        newer: &HashSet<&str>,
        queue: &Queue,
    ) -> Self {
        let numbers = folder.numbers();
        let collect = numbers.collect.and_then(|job| queue.get(job, None));
        let mut status = Self {
            number: folder.number(),
            tasks: submission.tasks.len(),
            states: BTreeMap::new(),
            failed: Vec::new(),
            underway: HashSet::new(),
            collect: collect.map_or("gone".into(), |t| t.state.to_lowercase()),
        };
        for (task, jobs) in submission.tasks.iter().enumerate() {
            let state = numbers.state(task, queue);
            let left: Vec<&str> = jobs
                .iter()
                .map(String::as_str)
                .filter(|j| open.contains(j))
                .collect();
            let again = left.iter().all(|j| newer.contains(j));
            let word = match state {
                _ if left.is_empty() => "done".into(),
                _ if again => "submitted again".into(),
                Some(t) => t.state.to_lowercase(),
                None => "gone".into(),
            };
            *status.states.entry(word.clone()).or_default() += 1;
            match state {
                Some(t) if t.lives() => status.underway.extend(jobs.iter().cloned()),
                _ if again => {}
                _ => status.failed.push(Failed {
                    task,
                    name: numbers
                        .place(task)
                        .map_or("never submitted".into(), |(job, index)| {
                            format!("{job}_{index}")
                        }),
                    state: word,
                    unfinished: left.len(),
                    log: numbers
                        .place(task)
                        .map(|p| folder.log(p))
                        .unwrap_or_default(),
                }),
            }
        }
        status
    }
}

/// Every submission of a plan's experiment, newest first.
pub fn all(plan: &Plan, open: &HashSet<&str>, queue: &Queue) -> Result<Vec<Status>> {
    let folders: Vec<(Folder, Submission)> = Folder::all(plan)
        .into_iter()
        .rev()
        .map(|f| f.submission().map(|s| (f, s)))
        .collect::<Result<_>>()?;
    let (mut newer, mut all) = (HashSet::new(), Vec::new());
    for (folder, submission) in &folders {
        all.push(Status::of(folder, submission, open, &newer, queue));
        newer.extend(submission.tasks.iter().flatten().map(String::as_str));
    }
    Ok(all)
}
