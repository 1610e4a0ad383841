//! What was handed to Slurm: `RUNS/EXPERIMENT/.slurm/N/` with `submission.json`, `arrays.json`, the
//! script and `logs/`.

use super::site::Site;
use super::slurm::{EntryId, Queue, QueueEntry};
use crate::error::{OrInvalidInput, invalid_input};
use crate::plan::Plan;
use crate::plan::checks::unwritable_results;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use anyhow::{Context, Result, bail};
use egsde_data::files::{make_writable_folder, read_text, sha256_hex, write_atomically};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Largest file of a submission: 200,000 names of jobs fit.
const MAX_FILE: u64 = 64 << 20;

const SUBMISSION_FILE: &str = "submission.json";
const ARRAYS_FILE: &str = "arrays.json";

/// Hash over the names of all of a plan's jobs, which carry the hashes of all that decides their
/// images.
pub fn plan_sha256(plan: &Plan) -> String {
    let ids: Vec<&str> = plan.jobs.iter().map(|job| job.id.as_str()).collect();
    sha256_hex(ids.join("\n").as_bytes())
}

/// What the tasks need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Submission {
    /// The experiment as the command line named it, from the project's folder.
    pub experiment: ExperimentArgs,
    /// The project's folder.
    pub project: PathBuf,
    /// [`plan_sha256`] of the plan that was submitted.
    pub plan_sha256: String,
    /// How the site wants its jobs.
    pub site: Site,
    /// Names of each task's jobs.
    pub tasks: Vec<Vec<String>>,
}

impl Submission {
    /// The plan, when it is still the one that was submitted.
    ///
    /// # Errors
    /// Invalid input: the experiment was changed since, or cannot be read.
    pub fn plan(&self, project: &Project) -> Result<Plan> {
        let plan = self.experiment.plan(project)?;
        let now = plan_sha256(&plan);
        if now != self.plan_sha256 {
            return Err(invalid_input(format!(
                "{} was changed since it was submitted (its jobs hash to {}, then {}): egsde \
                 cancel, then egsde submit it again",
                self.experiment.file().display(),
                &now[..12],
                self.plan_sha256.get(..12).unwrap_or("nothing")
            )));
        }
        Ok(plan)
    }
}

/// Some of a submission's tasks as one array of Slurm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobArray {
    /// Slurm's number of it.
    pub job: u64,
    /// The task that is its index 0.
    pub first: usize,
    /// How many tasks it has.
    pub tasks: usize,
}

/// A task as Slurm numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayTask {
    /// The array's number.
    pub array: u64,
    /// The task's index in it.
    pub index: usize,
}

impl fmt::Display for ArrayTask {
    /// As Slurm writes it: 12_3.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.array, self.index)
    }
}

/// The numbers that Slurm gave a submission.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobNumbers {
    /// The arrays, in the order of their tasks.
    pub arrays: Vec<JobArray>,
    /// The job that collects.
    pub collect: Option<u64>,
}

impl JobNumbers {
    /// Every number.
    pub fn all(&self) -> Vec<u64> {
        self.arrays
            .iter()
            .map(|array| array.job)
            .chain(self.collect)
            .collect()
    }

    /// Array and index of a task; none of a task that was never submitted.
    pub fn locate(&self, task: usize) -> Option<ArrayTask> {
        let mut arrays = self.arrays.iter();
        let array =
            arrays.find(|array| (array.first..array.first + array.tasks).contains(&task))?;
        Some(ArrayTask {
            array: array.job,
            index: task - array.first,
        })
    }

    /// What the queue tells about a task.
    pub fn task_entry<'a>(&self, task: usize, queue: &'a Queue) -> Option<&'a QueueEntry> {
        let ArrayTask { array, index } = self.locate(task)?;
        queue.get(EntryId {
            job: array,
            index: Some(index),
        })
    }

    /// What the queue tells about the job that collects.
    pub fn collect_entry<'a>(&self, queue: &'a Queue) -> Option<&'a QueueEntry> {
        queue.get(EntryId {
            job: self.collect?,
            index: None,
        })
    }

    /// Numbers of arrays and jobs that have yet to run, or run.
    pub fn active(&self, queue: &Queue) -> Vec<u64> {
        let mut active = Vec::new();
        for array in &self.arrays {
            let ids = (0..array.tasks).map(|index| EntryId {
                job: array.job,
                index: Some(index),
            });
            let mut entries = ids.filter_map(|id| queue.get(id));
            if entries.any(QueueEntry::is_active) {
                active.push(array.job);
            }
        }
        if self.collect_entry(queue).is_some_and(QueueEntry::is_active) {
            active.extend(self.collect);
        }
        active
    }
}

/// The folder of one submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionFolder(PathBuf);

/// The folder of all submissions of a plan's experiment.
fn parent_folder(plan: &Plan) -> PathBuf {
    plan.folder.join(".slurm")
}

/// The error of a folder of submissions that cannot be written to.
fn refuse_folder(folder: &Path, error: io::Error) -> anyhow::Error {
    let context = format!("cannot write to {}", folder.display());
    unwritable_results(&anyhow::Error::from(error).context(context))
}

impl SubmissionFolder {
    /// The folder at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where the next submission would lie, for showing it; its number is not known yet.
    ///
    /// # Errors
    /// The current folder is not known.
    pub fn placeholder(plan: &Plan) -> Result<Self> {
        Ok(Self(std::path::absolute(parent_folder(plan).join("N"))?))
    }

    /// Makes the next one; its path is absolute.
    ///
    /// # Errors
    /// Invalid input: the folder cannot be written.
    pub fn create(plan: &Plan) -> Result<Self> {
        let parent = parent_folder(plan);
        make_writable_folder(&parent).map_err(|error| unwritable_results(&error))?;
        let parent = parent
            .canonicalize()
            .map_err(|error| refuse_folder(&parent, error))?;
        let next = Self::list(plan).last().map_or(1, |last| last.number() + 1);
        // Another submission may take the same number at the same time: one of them goes on to the
        // next.
        for number in next.. {
            let path = parent.join(number.to_string());
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.and_then(|()| std::fs::create_dir(path.join("logs")))
                        .map_err(|error| refuse_folder(&parent, error))?;
                    return Ok(Self(path));
                }
            }
        }
        bail!("no number is left in {}", parent.display())
    }

    /// Those of a plan's experiment, oldest first.
    pub fn list(plan: &Plan) -> Vec<Self> {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(parent_folder(plan))
            .into_iter()
            .flatten()
            .flatten()
        {
            let folder = Self(entry.path());
            if folder.number() > 0 && folder.0.join(SUBMISSION_FILE).is_file() {
                folders.push(folder);
            }
        }
        folders.sort_by_key(Self::number);
        folders
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The number that is its name; 0 when the name is no number.
    pub fn number(&self) -> usize {
        self.0
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok())
            .unwrap_or(0)
    }

    /// Where output goes.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Where a task's output goes.
    pub fn log(&self, task: ArrayTask) -> PathBuf {
        self.logs().join(format!("{task}.log"))
    }

    /// Where the collecting job's output goes.
    pub fn collect_log(&self) -> PathBuf {
        self.logs().join("collect.log")
    }

    /// Where the script lies.
    pub fn script(&self) -> PathBuf {
        self.0.join("task.sh")
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.0.join(name);
        let text = read_text(&path, MAX_FILE).or_invalid_input("submission")?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} was changed", path.display()))
            .or_invalid_input("submission")
    }

    /// What was submitted.
    ///
    /// # Errors
    /// Invalid input: the file is missing or was changed.
    pub fn submission(&self) -> Result<Submission> {
        self.read_json(SUBMISSION_FILE)
    }

    /// Keeps what is submitted.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_submission(&self, submission: &Submission) -> Result<()> {
        write_atomically(
            &self.0.join(SUBMISSION_FILE),
            &serde_json::to_vec(submission)?,
        )
    }

    /// The numbers that Slurm gave; none before it gave any.
    pub fn numbers(&self) -> JobNumbers {
        self.read_json(ARRAYS_FILE).unwrap_or_default()
    }

    /// Keeps the numbers that Slurm gave.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_numbers(&self, numbers: &JobNumbers) -> Result<()> {
        write_atomically(&self.0.join(ARRAYS_FILE), &serde_json::to_vec(numbers)?)
    }

    /// Removes a submission that Slurm refused.
    pub fn remove(&self) {
        // A folder that stays behind holds no numbers and is reported as never submitted.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
