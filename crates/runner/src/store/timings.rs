//! How fast this machine was: seconds per network evaluation, kept beside the runs so that plans
//! can tell how long they will take.

use crate::plan::{Job, Plan};
use crate::runtime::device::speed_class;
use anyhow::Result;
use egsde_data::files::write_atomically;
use egsde_sampler::method::MethodSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tch::Device;

/// Seconds per evaluation of the network that makes images, everything of its step included, by
/// kind of work.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timings(BTreeMap<String, f64>);

fn path(plan: &Plan) -> PathBuf {
    plan.folder
        .parent()
        .unwrap_or(&plan.folder)
        .join(".timings.json")
}

/// What decides the cost of a step beside the device: networks, image size, precision, and whether
/// the extractor takes part or a generator translates at once.
fn kind_of_work(plan: &Plan, job: &Job) -> String {
    let settings = &job.identity.settings;
    let work = match settings.generator() {
        Some(name) => name.to_string(),
        None if settings.uses_extractor() => "guided".into(),
        None => "plain".into(),
    };
    let (task, side, precision) = (
        &plan.task.name,
        plan.task.image_size,
        job.identity.precision,
    );
    format!("{task} {side} {work} {precision}")
}

/// What decides the speed of a device: of the CPU the threads, of a GPU which one it is.
fn speed_of_device(device: Device) -> String {
    match device {
        Device::Cuda(_) => speed_class(device),
        _ => format!("{} {} threads", speed_class(device), tch::get_num_threads()),
    }
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
    pub fn add(plan: &Plan, job: &Job, device: Device, images: usize, seconds: f64) -> Result<()> {
        let evaluations = images * job.evaluations();
        if evaluations == 0 {
            return Ok(());
        }
        let mut known = Self::read(plan);
        let key = format!("{} {}", kind_of_work(plan, job), speed_of_device(device));
        known.0.insert(key, seconds / evaluations as f64);
        write_atomically(&path(plan), &serde_json::to_vec_pretty(&known)?)
    }

    /// Seconds per evaluation of this job, if such work was done on a device of this kind.
    pub fn seconds(&self, plan: &Plan, job: &Job, device: Device) -> Option<f64> {
        self.find(&kind_of_work(plan, job), &speed_of_device(device))
    }

    /// The time of work on a device. Where the GPU is not known, as on a login node, it is that of
    /// the slowest one that has done such work.
    fn find(&self, work: &str, device: &str) -> Option<f64> {
        if device != "cuda" {
            return self.0.get(&format!("{work} {device}")).copied();
        }
        let any_gpu = format!("{work} cuda");
        let measured = self.0.iter().filter(|(key, _)| key.starts_with(&any_gpu));
        measured.map(|(_, seconds)| *seconds).reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_has_its_own_time_and_an_unknown_one_the_slowest() {
        let mut timings = Timings::default();
        for (key, seconds) in [
            ("cat2dog 256 plain bf16 cuda NVIDIA H100 80GB HBM3", 0.01),
            ("cat2dog 256 plain bf16 cuda NVIDIA L4", 0.08),
            ("cat2dog 256 plain bf16 cpu 2 threads", 3.0),
            ("cat2dog 256 guided bf16 cuda NVIDIA L4", 0.2),
        ] {
            timings.0.insert(key.into(), seconds);
        }
        let plain = "cat2dog 256 plain bf16";
        assert_eq!(
            timings.find(plain, "cuda NVIDIA H100 80GB HBM3"),
            Some(0.01)
        );
        assert_eq!(timings.find(plain, "cuda NVIDIA L4"), Some(0.08));
        assert_eq!(timings.find(plain, "cuda NVIDIA A100"), None);
        assert_eq!(timings.find(plain, "cuda"), Some(0.08));
        assert_eq!(timings.find(plain, "cpu 2 threads"), Some(3.0));
        assert_eq!(timings.find("cat2dog 256 guided f32", "cuda"), None);
    }
}
