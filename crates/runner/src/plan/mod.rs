//! Plans: the jobs of an experiment, one per row and seed.

pub mod checks;
pub mod experiment_args;
pub mod job;
pub mod scoring_identity;
pub mod settings;

pub use job::{Identity, Job};
pub use scoring_identity::ScoringIdentity;

use crate::config::experiment::Experiment;
use crate::config::paper::Paper;
use crate::config::row::Row;
use crate::error::{all_in_order, invalid_input};
use crate::inputs::manifest::Input;
use crate::inputs::network_file::NetworkFile;
use crate::inputs::task::Task;
use crate::project::Project;
use anyhow::Result;
use egsde_data::nearest::offer;
use egsde_metrics::registry::{Metric, scored_metrics};
use egsde_sampler::generators::GeneratorName;
use egsde_sampler::method::MethodSettings;
use job::Shared;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// All jobs of an experiment, row by row.
#[derive(Debug)]
pub struct Plan {
    /// The checked experiment, its sweeps expanded into rows.
    pub experiment: Experiment,
    /// The task that the experiment names.
    pub task: Task,
    /// What the paper has about the table that the experiment names in `published`.
    pub paper: Option<Paper>,
    /// Published files and folders the task needs.
    pub inputs: Vec<Input>,
    /// One per row and seed; a row that no seed changes has one job at the first seed.
    pub jobs: Vec<Job>,
    /// The metrics a finished job has.
    pub metrics: Vec<&'static Metric>,
    /// What decides the scores of given images.
    pub scoring: ScoringIdentity,
    /// `runs_dir/NAME`.
    pub folder: PathBuf,
}

/// Seeds of a row: images that do not depend on it are scored once.
fn seeds<'a>(row: &Row, experiment: &'a Experiment) -> &'a [u64] {
    if row.method.depends_on_seed() {
        &experiment.seeds
    } else {
        &experiment.seeds[..1]
    }
}

/// Folders that are there, by the part of their name that a job's identity decides.
fn existing_folders(folder: &Path) -> HashMap<String, Vec<String>> {
    let mut existing: HashMap<String, Vec<String>> = HashMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let suffix = identity_suffix(&name).to_string();
        existing.entry(suffix).or_default().push(name);
    }
    existing
}

/// The part of a job's folder name that its identity decides.
fn identity_suffix(id: &str) -> &str {
    id.rfind("-s").map_or(id, |at| &id[at..])
}

/// Jobs of one identity share a folder: that of the first row, or one that is there already under
/// another row's name (a row may be renamed).
fn share_folders(jobs: &mut [Job], folder: &Path) {
    let existing = existing_folders(folder);
    let mut chosen: HashMap<String, String> = HashMap::new();
    for job in jobs {
        let suffix = identity_suffix(&job.id).to_string();
        let names = existing.get(&suffix).map_or(&[][..], Vec::as_slice);
        let name = match names.last() {
            Some(other) if !names.contains(&job.id) => other.clone(),
            _ => job.id.clone(),
        };
        job.id.clone_from(chosen.entry(suffix).or_insert(name));
    }
}

/// Whose generators jobs evaluate.
fn generators(jobs: &[Job]) -> BTreeSet<GeneratorName> {
    jobs.iter()
        .filter_map(|job| job.identity.settings.generator())
        .collect()
}

/// The networks of a task's own that jobs evaluate, and the one that scores them. A table of
/// generators alone needs no diffusion network and no extractor.
fn own_networks<'a>(task: &'a Task, jobs: &[Job]) -> Vec<&'a NetworkFile> {
    let uses_diffusion = |job: &Job| job.identity.settings.uses_diffusion();
    let mut networks = Vec::new();
    if generators(jobs).is_empty() || jobs.iter().any(uses_diffusion) {
        networks.extend([&task.diffusion, &task.extractor]);
    }
    networks.push(&task.features);
    networks
}

/// All networks that jobs need: those of [`own_networks`] and the generators that they evaluate.
fn networks<'a>(task: &'a Task, jobs: &[Job]) -> Vec<&'a NetworkFile> {
    let mut networks = own_networks(task, jobs);
    for name in generators(jobs) {
        networks.extend(task.generators.get(&name));
    }
    networks
}

impl Plan {
    /// Lays out the jobs; only the task, its manifests and external images are read.
    ///
    /// # Errors
    /// Invalid input: a mistake in the task or its manifests, or settings that mean nothing on it.
    pub fn new(experiment: Experiment, project: &Project) -> Result<Self> {
        Self::with_metrics(experiment, project, scored_metrics())
    }

    /// A plan whose jobs have these metrics.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn with_metrics(
        experiment: Experiment,
        project: &Project,
        metrics: Vec<&'static Metric>,
    ) -> Result<Self> {
        let task = Task::read(project, &experiment.task)?;
        let published = experiment.published.as_ref();
        let paper = published
            .map(|table| Paper::read(project, &experiment.name, table))
            .transpose()?;
        let shared = Shared::new(&experiment, &task, project)?;
        let jobs_of_row = |row: &Row| -> Result<Vec<Job>> {
            seeds(row, &experiment)
                .iter()
                .map(|seed| Job::new(row, *seed, &shared))
                .collect()
        };
        let rows = all_in_order(experiment.methods.par_iter().map(jobs_of_row))?;
        let mut jobs: Vec<Job> = rows.into_iter().flatten().collect();
        let inputs = task.inputs_with(&networks(&task, &jobs), project)?;
        let folder = experiment.folder(project);
        share_folders(&mut jobs, &folder);
        let scoring = ScoringIdentity::new(&task, &metrics, project)?;
        Ok(Self {
            experiment,
            task,
            paper,
            inputs,
            jobs,
            metrics,
            scoring,
            folder,
        })
    }

    /// The jobs of a row.
    ///
    /// # Errors
    /// Invalid input: there is no such row, with the nearest name.
    pub fn jobs_of_row(&self, row: &str) -> Result<Vec<&Job>> {
        let jobs: Vec<&Job> = self.jobs.iter().filter(|job| job.row == row).collect();
        if jobs.is_empty() {
            let names: Vec<&str> = self
                .experiment
                .methods
                .iter()
                .map(|r| r.name.as_str())
                .collect();
            let offer = offer(row, names.iter().copied());
            let known = names.join(", ");
            return Err(invalid_input(format!(
                "no row {row:?}; there are {known}{offer}"
            )));
        }
        Ok(jobs)
    }

    /// One line on each file and folder that its jobs need and the task itself names, where it is
    /// missing, with how to get it.
    pub fn missing_files(&self, project: &Project) -> Vec<String> {
        let mut missing = (self.task).missing_files(&own_networks(&self.task, &self.jobs), project);
        let task_file = project.task_file(&self.experiment.task);
        for name in self.generators() {
            let file = self
                .task
                .generators
                .get(&name)
                .and_then(NetworkFile::hashed);
            let text = file.and_then(|file| file.missing(project));
            missing.extend(
                text.map(|text| format!("{}: generators.{name}: {text}", task_file.display())),
            );
        }
        missing
    }

    /// Whether rows of this plan evaluate the diffusion network.
    pub fn uses_diffusion(&self) -> bool {
        self.jobs
            .iter()
            .any(|job| job.identity.settings.uses_diffusion())
    }

    /// Whose generators rows of this plan evaluate.
    pub fn generators(&self) -> BTreeSet<GeneratorName> {
        generators(&self.jobs)
    }

    /// Whether rows of this plan evaluate the extractor.
    pub fn uses_extractor(&self) -> bool {
        self.jobs
            .iter()
            .any(|job| job.identity.settings.uses_extractor())
    }

    /// Where the report lies unless another folder is named.
    pub fn report_folder(&self) -> PathBuf {
        self.folder.join("report")
    }
}
