//! How fast this machine was: seconds a network evaluation, kept beside the runs so that plans can say how long.

use crate::plan::{Job, Plan};
use anyhow::Result;
use egsde_models::files::write_atomically;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Seconds an evaluation of the diffusion network, everything of its step included, by kind of work.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measured(BTreeMap<String, f64>);

fn path(plan: &Plan) -> PathBuf {
    plan.folder
        .parent()
        .unwrap_or(&plan.folder)
        .join(".measured.json")
}

/// What decides the cost of a step: networks, picture size, precision, device, and whether the extractor takes part.
fn kind_of_work(plan: &Plan, job: &Job, device: &str) -> String {
    let guided = if job.identity.settings.evaluations().extractor > 0 {
        "guided"
    } else {
        "plain"
    };
    format!(
        "{} {} {guided} {:?} {device} {} threads",
        plan.task.name,
        plan.task.image_size,
        job.identity.precision,
        tch::get_num_threads()
    )
}

impl Measured {
    /// What is known so far.
    pub fn read(plan: &Plan) -> Self {
        let text = std::fs::read(path(plan)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps what a job took.
    pub fn add(plan: &Plan, job: &Job, device: &str, pictures: usize, seconds: f64) -> Result<()> {
        let evaluations = pictures * job.identity.settings.evaluations().diffusion;
        if evaluations == 0 {
            return Ok(());
        }
        let mut known = Self::read(plan);
        known.0.insert(
            kind_of_work(plan, job, device),
            seconds / evaluations as f64,
        );
        write_atomically(&path(plan), &serde_json::to_vec_pretty(&known)?)
    }

    /// Seconds an evaluation of this job, if this machine has done its like.
    pub fn seconds(&self, plan: &Plan, job: &Job, device: &str) -> Option<f64> {
        self.0.get(&kind_of_work(plan, job, device)).copied()
    }
}
