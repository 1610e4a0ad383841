//! The first images of each row at the first seed, shown before the whole run is done. They are
//! images of the run's own jobs: nothing is made twice.

use crate::plan::{Job, Plan};
use crate::store::results::Results;
use crate::store::scores::Scores;
use anyhow::Result;
use egsde_data::lock::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// Makes text for people, and perhaps files, of what a preview found.
pub type Show<'a> = &'a (dyn Fn(&Results) -> Result<String> + Sync);

/// What is asked of a preview.
pub struct PreviewRequest<'a> {
    /// Images per row.
    pub pictures: usize,
    /// Called once all rows are there.
    pub show: Show<'a>,
}

/// A preview that is being made.
pub struct Preview<'a> {
    /// The first images of the first seed, in the folders of the whole plan's jobs.
    plan: Plan,
    show: Show<'a>,
    /// Scores by job; none of a job that failed or that another process works on.
    scores: Mutex<BTreeMap<String, Option<Scores>>>,
}

/// Each row's job at the first seed that it has.
fn first_jobs(plan: &Plan) -> Vec<Job> {
    let mut first: Vec<Job> = Vec::new();
    for job in &plan.jobs {
        if first.last().is_none_or(|last| last.row != job.row) {
            first.push(job.clone());
        }
    }
    first
}

impl<'a> Preview<'a> {
    /// A preview of a plan; none where the plan has no more images than it, or no row's first job
    /// is `unfinished`.
    pub fn new(request: &PreviewRequest<'a>, plan: &Plan, unfinished: &[&Job]) -> Option<Self> {
        let jobs = first_jobs(plan);
        let is_new = jobs
            .iter()
            .any(|job| unfinished.iter().any(|other| other.id == job.id));
        if request.pictures >= plan.experiment.pictures || !is_new {
            return None;
        }
        let mut experiment = plan.experiment.clone();
        experiment.title = format!("{}: a first look", experiment.title);
        experiment.pictures = request.pictures;
        experiment.seeds.truncate(1);
        experiment.compare_to = None;
        experiment.published = None;
        let plan = Plan {
            experiment,
            task: plan.task.clone(),
            paper: None,
            inputs: plan.inputs.clone(),
            jobs,
            metrics: plan.metrics.clone(),
            scoring: plan.scoring.clone(),
            folder: plan.folder.clone(),
        };
        Some(Self {
            plan,
            show: request.show,
            scores: Mutex::default(),
        })
    }

    /// Images per row.
    pub fn pictures(&self) -> usize {
        self.plan.experiment.pictures
    }

    /// The jobs whose first images it shows, in the plan's order; rows of equal settings share one.
    pub fn jobs(&self) -> Vec<&Job> {
        let mut seen = BTreeSet::new();
        let jobs = self.plan.jobs.iter();
        jobs.filter(|job| seen.insert(&job.id)).collect()
    }

    /// Takes a job's scores, or that it has none. The last job's makes the text.
    ///
    /// # Errors
    /// Those of [`PreviewRequest::show`].
    pub fn take(&self, job: &Job, scores: Option<Scores>) -> Result<Option<String>> {
        let mut all = lock(&self.scores);
        all.insert(job.id.clone(), scores);
        if all.len() < self.jobs().len() {
            return Ok(None);
        }
        let jobs = self.plan.jobs.iter();
        let scores: Vec<Option<Scores>> = jobs.map(|job| all[&job.id].clone()).collect();
        if scores.iter().all(Option::is_none) {
            return Ok(None);
        }
        let results = Results::from_scores(&self.plan, scores);
        (self.show)(&results).map(Some)
    }
}
