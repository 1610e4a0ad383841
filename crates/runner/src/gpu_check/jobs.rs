//! Whole paper-scale jobs with weights by formula, by the same commands twice.

use crate::config::precision::Precision;
use crate::error::OrInvalidInput;
use crate::project::Project;
use crate::store::job_dir::JobDir;
use crate::store::scores::Scores;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The script that makes the scratch project and runs its experiments.
const SCRIPT: &str = "scripts/dry_run_paper.sh";

/// Runs of the same commands.
const RUNS: [&str; 2] = ["runs_first", "runs_second"];

/// What became of the jobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WholeJobs {
    /// Jobs of either run.
    pub jobs: usize,
    /// Jobs whose images differ between the two runs, by folder.
    pub different: Vec<String>,
    /// The most bytes that tensors took on the device; none on a CPU.
    pub peak_bytes: Option<u64>,
}

/// The scores of all jobs below a runs folder, by the job's folder.
fn read_jobs(runs: &Path) -> BTreeMap<String, Scores> {
    let mut jobs = BTreeMap::new();
    for experiment in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        let folders = std::fs::read_dir(experiment.path());
        for folder in folders.into_iter().flatten().flatten() {
            if let Some(scores) = JobDir::at(&folder.path()).scores() {
                let name = folder.file_name().to_string_lossy().into_owned();
                jobs.insert(name, scores);
            }
        }
    }
    jobs
}

/// Holds two runs against each other.
fn compare(first: &BTreeMap<String, Scores>, second: &BTreeMap<String, Scores>) -> WholeJobs {
    let mut found = WholeJobs {
        jobs: first.len(),
        ..WholeJobs::default()
    };
    for (name, scores) in first {
        let other = second.get(name);
        if other.is_none_or(|other| other.images_sha256 != scores.images_sha256) {
            found.different.push(name.clone());
        }
        let peak = scores
            .sampling
            .gpu
            .as_ref()
            .map(|gpu| gpu.peak_memory_bytes);
        found.peak_bytes = found.peak_bytes.max(peak);
    }
    found
}

/// Runs the jobs of `experiments` twice in a scratch project in `folder`.
///
/// # Errors
/// Invalid input: a run that fails (its own messages went to standard error).
pub fn run_whole_jobs(
    project: &Project,
    folder: &Path,
    device: &str,
    precision: Precision,
    experiments: &str,
) -> Result<WholeJobs> {
    let program = std::env::current_exe().context("this program's own file")?;
    for runs in RUNS {
        // What an earlier check left would not be run again.
        let _ = std::fs::remove_dir_all(folder.join(runs));
        let status = Command::new("bash")
            .arg(project.resolve(SCRIPT))
            .args([folder, &program])
            .env("DEVICE", device)
            .env("PRECISION", precision.to_string())
            .env("EXPERIMENTS", experiments)
            .env("RUNS", runs)
            .stdout(std::process::Stdio::null())
            .status();
        let status = status.or_invalid_input("cannot start bash")?;
        ensure!(status.success(), "{SCRIPT} ended with {status}");
    }
    let [first, second] = RUNS.map(|runs| read_jobs(&folder.join(runs)));
    ensure!(!first.is_empty(), "{SCRIPT} left no finished job");
    Ok(compare(&first, &second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scores::testing::scores;

    #[test]
    fn other_images_and_missing_jobs_are_named() {
        let first: BTreeMap<String, Scores> = ["a", "b", "c"]
            .map(|name| (name.to_string(), scores()))
            .into();
        let mut second = first.clone();
        second.get_mut("b").unwrap().images_sha256 = "other".into();
        second.remove("c");
        let found = compare(&first, &second);
        assert_eq!(
            (found.jobs, found.different),
            (3, vec!["b".into(), "c".into()])
        );
        assert_eq!(compare(&first, &first).different, Vec::<String>::new());
    }
}
