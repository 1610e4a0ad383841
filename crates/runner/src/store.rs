//! A job's folder: `job.json`, `images/`, `scores.json`. Whatever is written gets a temporary name first.

use crate::plan::{Identity, Job};
use anyhow::{Context, Result};
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
pub struct JobFolder(pub PathBuf);

impl JobFolder {
    /// Under an experiment's folder.
    pub fn of(experiment: &Path, job: &Job) -> Self {
        Self(experiment.join(&job.id))
    }

    fn image(&self, name: &str) -> PathBuf {
        self.0.join("images").join(format!("{name}.png"))
    }

    /// Scores when the job is finished and readable; a file that is neither counts as unfinished.
    pub fn scores(&self) -> Option<Scores> {
        let text = std::fs::read(self.0.join("scores.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Makes the folder and writes what the job is.
    pub fn begin(&self, job: &Job) -> Result<()> {
        let record = Record { row: job.row.clone(), identity: job.identity.clone() };
        write_atomically(&self.0.join("job.json"), &serde_json::to_vec_pretty(&record)?)
    }

    /// A translated picture that is there and whole.
    pub fn read_image(&self, name: &str, side: usize) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.image(name)).ok()?;
        let image = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png).ok()?.into_rgb8();
        (image.dimensions() == (side as u32, side as u32)).then(|| image.into_raw())
    }

    /// How many pictures lie there, without reading them.
    pub fn count_images(&self) -> usize {
        let entries = std::fs::read_dir(self.0.join("images")).into_iter().flatten().flatten();
        entries.filter(|e| e.file_name().to_string_lossy().ends_with(".png")).count()
    }

    /// Writes a batch of pictures, one PNG each.
    pub fn write_images(&self, pictures: &Pictures) -> Result<()> {
        for (i, name) in pictures.names.iter().enumerate() {
            write_atomically(&self.image(name), &encode_png(&pictures.image(i))?)?;
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
        write_atomically(&self.0.join("scores.json"), &serde_json::to_vec_pretty(scores)?)
    }
}

/// Hash over pixels, for `images_sha256`.
pub fn pictures_hash(pictures: &Pictures) -> String {
    sha256_hex(&pictures.pixels)
}
