//! How fast this machine was: seconds per network evaluation, kept beside the runs so that plans
//! can tell how long they will take.

use crate::plan::{Job, Plan};
use anyhow::Result;
use egsde_data::files::write_atomically;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Seconds per evaluation of the diffusion network, everything of its step included, by kind of
/// work.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timings(BTreeMap<String, f64>);

fn path(plan: &Plan) -> PathBuf {
    plan.folder
        .parent()
        .unwrap_or(&plan.folder)
        .join(".timings.json")
}

/// What decides the cost of a step: networks, image size, precision, device, and whether the
/// extractor takes part. `device` is the device as options spell it and, of a GPU, its name.
fn kind_of_work(plan: &Plan, job: &Job, device: &str) -> String {
    let guided = if job.identity.settings.uses_extractor() {
        "guided"
    } else {
        "plain"
    };
    let (task, side, precision) = (
        &plan.task.name,
        plan.task.image_size,
        job.identity.precision,
    );
    let threads = tch::get_num_threads();
    format!("{task} {side} {guided} {precision} {device} {threads} threads")
}

impl Timings {
    /// What is known so far.
    pub fn read(plan: &Plan) -> Self {
        let text = std::fs::read(path(plan)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps what a job took for some images.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(plan: &Plan, job: &Job, device: &str, images: usize, seconds: f64) -> Result<()> {
        let evaluations = images * job.diffusion_evaluations();
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

    /// Seconds per evaluation of this job, if this machine has done such work.
    pub fn seconds(&self, plan: &Plan, job: &Job, device: &str) -> Option<f64> {
        self.0.get(&kind_of_work(plan, job, device)).copied()
    }
}
