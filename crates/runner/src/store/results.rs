//! The results of a plan's jobs: each `scores.json` is read and its seal checked once, and
//! everything that shows or compares numbers takes them from here.

use super::job_dir::JobDir;
use super::per_image::PerImage;
use super::scores::Scores;
use crate::plan::{Job, Plan};
use anyhow::Result;
use rayon::prelude::*;

/// A finished job.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// The row, seed and identity, as the plan lays them out.
    pub job: &'a Job,
    /// What its `scores.json` holds, the seal verified.
    pub scores: &'a Scores,
    plan: &'a Plan,
}

impl Finished<'_> {
    /// Its folder.
    pub fn dir(&self) -> JobDir {
        JobDir::new(&self.plan.folder, self.job)
    }

    /// Its per-image values.
    ///
    /// # Errors
    /// The file is missing or was changed.
    pub fn per_image(&self) -> Result<PerImage> {
        self.dir().per_image(self.scores)
    }
}

/// Scores of all jobs of a plan, in the plan's order.
#[derive(Debug)]
pub struct Results<'a> {
    /// The plan whose jobs these are.
    pub plan: &'a Plan,
    /// None of a job that has no scores, or scores of another identity.
    scores: Vec<Option<Scores>>,
}

/// Scores of a job, when they are what this plan asks for.
pub fn read_scores(plan: &Plan, job: &Job) -> Option<Scores> {
    let scores = JobDir::new(&plan.folder, job).scores()?;
    (scores.scoring.identity == plan.scoring).then_some(scores)
}

impl<'a> Results<'a> {
    /// Reads what there is.
    pub fn read(plan: &'a Plan) -> Self {
        let scores = plan
            .jobs
            .par_iter()
            .map(|job| read_scores(plan, job))
            .collect();
        Self { plan, scores }
    }

    /// Scores that lie in no file, in the plan's order.
    pub fn from_scores(plan: &'a Plan, scores: Vec<Option<Scores>>) -> Self {
        Self { plan, scores }
    }

    /// Reads the jobs again that had no scores.
    pub fn read_missing(&mut self) {
        let jobs = self.plan.jobs.par_iter().zip(self.scores.par_iter_mut());
        jobs.filter(|(_, scores)| scores.is_none())
            .for_each(|(job, scores)| *scores = read_scores(self.plan, job));
    }

    /// Forgets the scores of jobs whose folders are not what was written; returns the jobs without
    /// results, by their place in the plan.
    pub fn verify_folders(&mut self) -> Vec<usize> {
        let plan = self.plan;
        let jobs = plan.jobs.par_iter().zip(self.scores.par_iter_mut());
        jobs.for_each(|(job, scores)| {
            let dir = JobDir::new(&plan.folder, job);
            if scores
                .as_ref()
                .is_some_and(|scores| !dir.problems_beside(scores).is_empty())
            {
                *scores = None;
            }
        });
        (0..self.scores.len())
            .filter(|place| self.scores[*place].is_none())
            .collect()
    }

    /// The scores of the job at a place in the plan.
    pub fn scores(&self, place: usize) -> Option<&Scores> {
        self.scores[place].as_ref()
    }

    /// Finished jobs, in the plan's order.
    pub fn finished(&self) -> impl Iterator<Item = Finished<'_>> {
        let plan = self.plan;
        let jobs = plan.jobs.iter().zip(&self.scores);
        jobs.filter_map(move |(job, scores)| {
            Some(Finished {
                job,
                scores: scores.as_ref()?,
                plan,
            })
        })
    }

    /// The finished job of each row at the first seed it has.
    pub fn first_of_each_row(&self) -> Vec<Finished<'_>> {
        let mut first: Vec<Finished> = Vec::new();
        for finished in self.finished() {
            if first
                .last()
                .is_none_or(|last| last.job.row != finished.job.row)
            {
                first.push(finished);
            }
        }
        first
    }

    /// Names of the jobs without a result.
    pub fn missing(&self) -> Vec<&'a str> {
        let jobs = self.plan.jobs.iter().zip(&self.scores);
        jobs.filter(|(_, scores)| scores.is_none())
            .map(|(job, _)| job.id.as_str())
            .collect()
    }

    /// Number of finished jobs.
    pub fn count(&self) -> usize {
        self.scores.iter().flatten().count()
    }
}
