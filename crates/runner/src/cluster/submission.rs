//! What was handed to Slurm: `RUNS/EXPERIMENT/.slurm/N/` with `submission.json`, `arrays.json`, the script, `logs/`.

use super::site::Site;
use super::slurm::{Limits, Queue, Task};
use crate::error::{Problem, UserError};
use crate::plan::{Job, Plan};
use crate::which::Which;
use anyhow::{Context, Result};
use egsde_models::files::{read_text, sha256_hex, write_atomically};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// 200,000 job names fit.
const MAX_FILE: u64 = 64 << 20;

/// Hash over the names of all of a plan's jobs: they carry the hashes of all that decides their results.
pub fn plan_sha256(plan: &Plan) -> String {
    let ids: Vec<&str> = plan.jobs.iter().map(|j| j.id.as_str()).collect();
    sha256_hex(ids.join("\n").as_bytes())
}

/// What the tasks need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Submission {
    /// The experiment as it was named on the command line, from `root`.
    pub which: Which,
    pub root: PathBuf,
    pub plan_sha256: String,
    pub site: Site,
    /// Names of each task's jobs.
    pub tasks: Vec<Vec<String>>,
}

/// Some of a submission's tasks as one array of Slurm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// Slurm's number of it.
    pub job: u64,
    /// Task that its index 0 is.
    pub first: usize,
    pub tasks: usize,
}

/// What Slurm calls it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Numbers {
    pub arrays: Vec<Array>,
    /// The job that collects.
    pub collect: Option<u64>,
}

impl Numbers {
    /// Every number.
    pub fn all(&self) -> Vec<u64> {
        self.arrays
            .iter()
            .map(|a| a.job)
            .chain(self.collect)
            .collect()
    }

    /// Array and index of a task.
    pub fn place(&self, task: usize) -> Option<(u64, usize)> {
        let array = self
            .arrays
            .iter()
            .find(|a| (a.first..a.first + a.tasks).contains(&task))?;
        Some((array.job, task - array.first))
    }

    /// What the queue says of a task.
    pub fn state<'a>(&self, task: usize, queue: &'a Queue) -> Option<&'a Task> {
        let (job, index) = self.place(task)?;
        queue.get(job, Some(index))
    }
}

/// Divides jobs, in order, into at most `tasks` groups of about equal cost.
pub fn divide(jobs: &[(&Job, usize)], tasks: usize) -> Vec<Vec<String>> {
    let total: usize = jobs.iter().map(|(_, cost)| cost).sum();
    let (mut groups, mut spent): (Vec<Vec<String>>, usize) = (Vec::new(), 0);
    let mut last = usize::MAX;
    for (job, cost) in jobs {
        // By the middle of the job, so that none straddles a boundary for its last picture's sake.
        let group = (2 * spent + cost) * tasks / (2 * total.max(1));
        if group != last {
            groups.push(Vec::new());
            last = group;
        }
        groups
            .last_mut()
            .into_iter()
            .for_each(|g| g.push(job.id.clone()));
        spent += cost;
    }
    groups
}

/// How many tasks: as asked, or by pictures, and no more than half of what Slurm holds for everybody.
pub fn task_count(site: &Site, pictures: usize, limits: Limits) -> Result<usize> {
    let most = (limits.jobs / 2).max(1);
    match site.tasks {
        Some(n) if n > most => Err(Problem::user(format!(
            "{n} tasks: this Slurm holds {} jobs (MaxJobCount); at most {most} tasks, please",
            limits.jobs
        ))),
        Some(n) => Ok(n),
        None => Ok(pictures.div_ceil(site.pictures()).clamp(1, most)),
    }
}

/// The folder of one submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(pub PathBuf);

fn above(plan: &Plan) -> PathBuf {
    plan.folder.join(".slurm")
}

impl Folder {
    /// Makes the next one.
    pub fn new(plan: &Plan) -> Result<Self> {
        let above = above(plan);
        let why = || {
            format!(
                "cannot write to {}: choose another folder with --set runs_dir=DIR",
                above.display()
            )
        };
        std::fs::create_dir_all(&above).user(why())?;
        let next = Self::all(plan).last().map_or(1, |f| f.number() + 1);
        // Another submission may take the same number at the same time: one of them goes on to the next.
        for number in next.. {
            let path = above.join(number.to_string());
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => {
                    made.and_then(|()| std::fs::create_dir(path.join("logs")))
                        .user(why())?;
                    return Ok(Self(path));
                }
            }
        }
        unreachable!("there is always a next number")
    }

    /// Those of a plan's experiment, oldest first.
    pub fn all(plan: &Plan) -> Vec<Self> {
        let entries = std::fs::read_dir(above(plan))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| Self(e.path()));
        let mut all: Vec<Self> = entries
            .filter(|f| f.number() > 0 && f.0.join("submission.json").is_file())
            .collect();
        all.sort_by_key(Self::number);
        all
    }

    /// Its name; 0 when that is no number.
    pub fn number(&self) -> usize {
        self.0
            .file_name()
            .and_then(|n| n.to_str()?.parse().ok())
            .unwrap_or(0)
    }

    /// Where a task's output goes.
    pub fn log(&self, place: (u64, usize)) -> PathBuf {
        self.0
            .join("logs")
            .join(format!("{}_{}.log", place.0, place.1))
    }

    /// Where the collecting job's output goes.
    pub fn collect_log(&self) -> PathBuf {
        self.0.join("logs").join("collect.log")
    }

    /// Where the script lies.
    pub fn script(&self) -> PathBuf {
        self.0.join("task.sh")
    }

    fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.0.join(name);
        let text = read_text(&path, MAX_FILE).user("submission")?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} was changed", path.display()))
            .user("submission")
    }

    /// What was submitted.
    pub fn submission(&self) -> Result<Submission> {
        self.read_json("submission.json")
    }

    /// Keeps what is submitted.
    pub fn keep(&self, submission: &Submission) -> Result<()> {
        write_atomically(
            &self.0.join("submission.json"),
            &serde_json::to_vec(submission)?,
        )
    }

    /// What Slurm calls it; nothing when it never came so far.
    pub fn numbers(&self) -> Numbers {
        self.read_json("arrays.json").unwrap_or_default()
    }

    /// Keeps what Slurm calls it.
    pub fn keep_numbers(&self, numbers: &Numbers) -> Result<()> {
        write_atomically(&self.0.join("arrays.json"), &serde_json::to_vec(numbers)?)
    }

    /// Takes back one that Slurm refused, so that it stands nowhere.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Submission {
    /// The plan, when it is still the one that was submitted. Errors exit with 2.
    pub fn plan(&self, root: &Path) -> Result<Plan> {
        let plan = self.which.plan(root)?;
        let now = plan_sha256(&plan);
        if now != self.plan_sha256 {
            return Err(Problem::user(format!(
                "{} was changed since it was submitted (its jobs hash to {}, then {}): egsde cancel, then egsde submit it again",
                self.which.file().display(),
                &now[..12],
                self.plan_sha256.get(..12).unwrap_or("nothing")
            )));
        }
        Ok(plan)
    }
}
