//! A job's folder: `job.json`, `images/`, `scores.json`. Whatever is written gets a temporary name first.

use crate::plan::{Identity, Job};
use crate::spec::Format;
use anyhow::{Context, Result};
use egsde_metrics::image_file::{self, Rgb, encode_jpeg75};
use egsde_metrics::pictures::{Pictures, encode_png};
use egsde_models::weights::{sha256_hex, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a number came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conditions {
    pub device: String,
    pub threads: usize,
    pub batch_size: usize,
    pub libtorch: String,
    /// Version of this program and, when built in a checkout, its commit.
    pub code: String,
    /// Seconds spent sampling in the process that finished the job, and pictures it made.
    pub sampling_seconds: f64,
    pub sampled_pictures: usize,
    /// Largest resident memory of that process so far, bytes; 0 where the system does not say.
    #[serde(default)]
    pub peak_memory_bytes: u64,
}

/// The process's largest resident memory so far, bytes (Linux).
pub fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}

/// The end of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scores {
    /// fid, l2, psnr, ssim.
    pub metrics: BTreeMap<String, f64>,
    pub pictures: usize,
    /// SHA-256 over the pictures' pixels in order.
    pub images_sha256: String,
    pub conditions: Conditions,
}

/// What `job.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    row: String,
    identity: Identity,
}

/// The folder of one job.
#[derive(Debug, Clone)]
pub struct JobFolder {
    path: PathBuf,
    format: Format,
    /// Of an external method: its pictures stay where they are.
    external: Option<PathBuf>,
}

impl JobFolder {
    /// Under an experiment's folder.
    pub fn of(experiment: &Path, job: &Job) -> Self {
        Self { path: experiment.join(&job.id), format: job.identity.format, external: job.images.clone() }
    }

    /// The file of one translated picture.
    pub fn image(&self, name: &str) -> PathBuf {
        match &self.external {
            Some(folder) => {
                let with = |e: &&str| folder.join(format!("{name}.{e}"));
                let there = crate::manifest::PICTURE_EXTENSIONS.iter().map(with).find(|p| p.is_file());
                there.unwrap_or_else(|| folder.join(name))
            }
            None => self.path.join("images").join(format!("{name}.{}", self.format.extension())),
        }
    }

    /// Scores when the job is finished and readable; a file that is neither counts as unfinished.
    pub fn scores(&self) -> Option<Scores> {
        let text = std::fs::read(self.path.join("scores.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Makes the folder and writes what the job is.
    pub fn begin(&self, job: &Job) -> Result<()> {
        let record = Record { row: job.row.clone(), identity: job.identity.clone() };
        write_atomically(&self.path.join("job.json"), &serde_json::to_vec_pretty(&record)?)
    }

    /// A translated picture that is there and whole.
    pub fn read_image(&self, name: &str, side: usize) -> Option<Vec<u8>> {
        let image = image_file::read(&self.image(name)).ok()?;
        (image.width == side && image.height == side).then_some(image.pixels)
    }

    /// How many pictures lie there, without reading them.
    pub fn count_images(&self) -> usize {
        let entries = std::fs::read_dir(self.path.join("images")).into_iter().flatten().flatten();
        entries.filter(|e| e.path().extension().is_some_and(|x| x == self.format.extension())).count()
    }

    /// Writes a batch of pictures, one file each.
    pub fn write_images(&self, pictures: &Pictures) -> Result<()> {
        let side = pictures.side;
        for (i, name) in pictures.names.iter().enumerate() {
            let bytes = match self.format {
                Format::Png => encode_png(&pictures.image(i))?,
                Format::Jpeg75 => encode_jpeg75(&Rgb { width: side, height: side, pixels: pictures.picture(i).to_vec() })?,
            };
            write_atomically(&self.image(name), &bytes)?;
        }
        Ok(())
    }

    /// All pictures by name, in order; the error names the first that is not there.
    pub fn read_all(&self, names: &[String], side: usize) -> Result<Pictures> {
        let mut pictures = Pictures::empty(side);
        for name in names {
            let bytes = self.read_image(name, side).with_context(|| format!("{} is missing or damaged", self.image(name).display()))?;
            pictures.pixels.extend(bytes);
            pictures.names.push(name.clone());
        }
        Ok(pictures)
    }

    /// Ends the job.
    pub fn finish(&self, scores: &Scores) -> Result<()> {
        write_atomically(&self.path.join("scores.json"), &serde_json::to_vec_pretty(scores)?)
    }
}

/// Hash over pixels, for `images_sha256`.
pub fn pictures_hash(pictures: &Pictures) -> String {
    sha256_hex(&pictures.pixels)
}
