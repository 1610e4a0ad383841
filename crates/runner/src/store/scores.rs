//! `scores.json`: a job's numbers and the conditions under which they were made, under a seal.

use crate::plan::ScoringIdentity;
use crate::runtime::device::card;
use anyhow::Result;
use egsde_data::files::sha256_hex;
use egsde_models::cuda::{cudnn_version, take_peak_bytes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Device;

/// File name inside a job's folder.
pub const SCORES_FILE: &str = "scores.json";

/// How a job's images were made, in the process that made the last of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplingConditions {
    /// Version of this program and, when built in a checkout, its commit.
    pub code: String,
    /// As options spell it: cpu, cuda:0.
    pub device: String,
    /// The processor or GPU behind it; none in files of versions that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// Version of libtorch, for example 2.11.0.
    pub libtorch: String,
    /// Threads that libtorch uses within one operation on the CPU.
    pub threads: usize,
    /// Whether this project's own kernels took part; they round differently from libtorch's.
    pub own_kernels: bool,
    /// Images between two writes.
    pub save_every: usize,
    /// The batch that the networks saw at the end: smaller than the experiment's when memory ran
    /// out.
    pub batch_size: usize,
    /// Images this process made.
    pub images: usize,
    /// Seconds spent on sampling them.
    pub seconds: f64,
    /// Seconds of these in which the networks computed, measured on the device.
    pub network_seconds: f64,
    /// Largest resident memory of that process so far, bytes; 0 where the system does not tell.
    pub peak_memory_bytes: u64,
    /// The GPU; none of images made on a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuConditions>,
}

/// The GPU on which a job's images were made, and the software that rounding depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuConditions {
    /// For example NVIDIA H100 80GB HBM3.
    pub name: String,
    /// Its compute capability, for example 9.0.
    pub capability: String,
    /// Version of the driver.
    pub driver: String,
    /// Version of cuDNN; empty where it is not known.
    pub cudnn: String,
    /// The most bytes that tensors took on it while this job was sampled, the networks included.
    pub peak_memory_bytes: u64,
}

impl GpuConditions {
    /// Those of a device, with the largest use of its memory since they were last asked for; none
    /// of a CPU.
    pub fn take(device: Device) -> Option<Self> {
        let peak_memory_bytes = take_peak_bytes(device)?;
        let (name, capability, driver) = match card(device) {
            Some(card) => (card.name, card.capability.to_string(), card.driver),
            None => Default::default(),
        };
        Some(Self {
            name,
            capability,
            driver,
            cudnn: cudnn_version().unwrap_or_default(),
            peak_memory_bytes,
        })
    }
}

/// How a job's images were scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoringConditions {
    /// What decided the scores besides the images.
    pub identity: ScoringIdentity,
    /// Version and commit of the program that scored.
    pub code: String,
    /// As options spell it: cpu, cuda:0.
    pub device: String,
    /// Seconds spent on features and metrics once the translations were read.
    pub seconds: f64,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Values by the keys of the metric registry.
    pub metrics: BTreeMap<String, f64>,
    /// Number of translations, equal to the number of sources.
    pub images: usize,
    /// SHA-256 over the images' pixels in order.
    pub images_sha256: String,
    /// SHA-256 of the file of per-image values.
    pub per_image_sha256: String,
    /// Program, machine and time behind the images.
    pub sampling: SamplingConditions,
    /// Program, machine and time behind the metrics.
    pub scoring: ScoringConditions,
}

/// What the file holds: the scores and a hash over them.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    sha256: String,
    scores: Scores,
}

impl Scores {
    fn seal(&self) -> Result<String> {
        Ok(sha256_hex(&serde_json::to_vec(self)?))
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn to_sealed(&self) -> Result<Vec<u8>> {
        let sealed = Sealed {
            sha256: self.seal()?,
            scores: self.clone(),
        };
        Ok(serde_json::to_vec_pretty(&sealed)?)
    }

    /// Scores from the file's bytes; none when they are unreadable or were changed.
    pub fn from_sealed(bytes: &[u8]) -> Option<Self> {
        let sealed: Sealed = serde_json::from_slice(bytes).ok()?;
        (sealed.scores.seal().ok()? == sealed.sha256).then_some(sealed.scores)
    }
}

/// The process's largest resident memory so far, bytes (Linux; 0 elsewhere).
pub fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else {
        return 0;
    };
    let kilobytes = line.trim().trim_end_matches("kB").trim().parse::<u64>();
    kilobytes.map_or(0, |kilobytes| kilobytes * 1024)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Scores of two images.
    pub fn scores() -> Scores {
        Scores {
            metrics: BTreeMap::from([("fid".to_string(), 1.5)]),
            images: 2,
            images_sha256: "a".into(),
            per_image_sha256: "b".into(),
            sampling: SamplingConditions {
                code: "c".into(),
                device: "cpu".into(),
                processor: Some("p".into()),
                libtorch: "2.11.0".into(),
                threads: 2,
                own_kernels: true,
                save_every: 64,
                batch_size: 16,
                images: 2,
                seconds: 1.25,
                network_seconds: 1.0,
                peak_memory_bytes: 7,
                gpu: None,
            },
            scoring: ScoringConditions {
                identity: ScoringIdentity {
                    scoring_version: 1,
                    metrics: vec!["fid".into()],
                    sha256: "d".into(),
                },
                code: "c".into(),
                device: "cpu".into(),
                seconds: 0.5,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_scores_come_back_and_a_change_is_noticed() {
        let scores = testing::scores();
        let bytes = scores.to_sealed().unwrap();
        assert_eq!(Scores::from_sealed(&bytes), Some(scores));
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            Scores::from_sealed(text.replace("1.5", "1.4").as_bytes()),
            None
        );
        assert_eq!(Scores::from_sealed(b"{}"), None);
    }

    #[test]
    fn only_images_of_a_gpu_tell_which() {
        let mut scores = testing::scores();
        let text = String::from_utf8(scores.to_sealed().unwrap()).unwrap();
        assert!(!text.contains("gpu"), "{text}");
        assert_eq!(GpuConditions::take(Device::Cpu), None);
        scores.sampling.gpu = Some(GpuConditions {
            name: "NVIDIA L4".into(),
            capability: "8.9".into(),
            driver: "580.65.06".into(),
            cudnn: "9.19.0".into(),
            peak_memory_bytes: 5 << 30,
        });
        let bytes = scores.to_sealed().unwrap();
        assert_eq!(Scores::from_sealed(&bytes), Some(scores));
    }
}
