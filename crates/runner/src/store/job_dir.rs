//! A job's folder: `job.json`, `images/`, `images.sha256`, `per_image.safetensors`, `scores.json`.
//! Every file gets a temporary name first, and everything is covered by a hash.

use super::checksums::{CHECKSUMS_FILE, Checksums};
use super::per_image::{PER_IMAGE_FILE, PerImage};
use super::scores::{SCORES_FILE, Scores};
use crate::config::image_format::ImageFormat;
use crate::inputs::image_folder::ImageFolder;
use crate::plan::{Identity, Job};
use anyhow::{Context, Result};
use egsde_data::files::{TEMPORARY, sha256_file, sha256_hex, write_atomically};
use egsde_data::image_file::{self, Rgb, encode_jpeg75};
use egsde_data::image_set::{ImageSet, encode_png};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Name of the file that tells what the job is.
pub const JOB_FILE: &str = "job.json";

/// A job's folder taken by this process; the lock goes with the process, however it ends.
#[derive(Debug)]
pub struct JobLock {
    _file: std::fs::File,
}

/// What `job.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct JobRecord {
    row: String,
    identity: Identity,
}

/// The folder of one job.
#[derive(Debug, Clone)]
pub struct JobDir {
    path: PathBuf,
    format: ImageFormat,
    /// Where an external method's images lie.
    external: Option<ExternalImages>,
}

/// An external method's folder of images.
#[derive(Debug, Clone)]
struct ExternalImages {
    folder: PathBuf,
    /// Its images by stem, looked up when the first one is asked for.
    by_stem: OnceLock<BTreeMap<String, PathBuf>>,
}

impl ExternalImages {
    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            by_stem: OnceLock::new(),
        }
    }

    /// The file of an image, whatever its extension; where it is missing, one that does not exist.
    fn image(&self, name: &str) -> PathBuf {
        let by_stem = self.by_stem.get_or_init(|| {
            let folder = ImageFolder::read(&self.folder);
            let images = folder.map(|folder| folder.by_stem());
            images.and_then(|by_stem| by_stem).unwrap_or_default()
        });
        let found = by_stem.get(name).cloned();
        found.unwrap_or_else(|| self.folder.join(name))
    }
}

impl JobDir {
    /// The folder of a job under its experiment's folder.
    pub fn new(experiment: &Path, job: &Job) -> Self {
        Self {
            path: experiment.join(&job.id),
            format: job.identity.format,
            external: job.external_images.clone().map(ExternalImages::new),
        }
    }

    /// A job's folder at any place, for reading; images are written by [`JobDir::new`] only.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.into(),
            format: ImageFormat::default(),
            external: None,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of one translated image.
    pub fn image(&self, name: &str) -> PathBuf {
        match &self.external {
            Some(external) => external.image(name),
            None => self.path.join(self.image_entry(name)),
        }
    }

    /// The path of an image inside the folder, as the checksums have it.
    fn image_entry(&self, name: &str) -> PathBuf {
        Path::new("images").join(format!("{name}.{}", self.format.extension()))
    }

    /// Scores when there are any; a file that is unreadable or was changed counts as none.
    pub fn scores(&self) -> Option<Scores> {
        Scores::from_sealed(&std::fs::read(self.path.join(SCORES_FILE)).ok()?)
    }

    /// `job.json`, when it is what the folder's name tells: that carries the identity's hash.
    fn record(&self) -> Option<JobRecord> {
        let bytes = std::fs::read(self.path.join(JOB_FILE)).ok()?;
        let record: JobRecord = serde_json::from_slice(&bytes).ok()?;
        let path = self.path.canonicalize().ok()?;
        let name = path.file_name()?.to_string_lossy();
        (record.identity.job_id(&record.row).ok()? == name).then_some(record)
    }

    /// What is wrong with the folder: record, scores, per-image values or images that are missing
    /// or were changed.
    pub fn problems(&self) -> Vec<String> {
        match self.scores() {
            Some(scores) => self.problems_beside(&scores),
            None => vec!["not finished, or its scores were changed".into()],
        }
    }

    /// [`JobDir::problems`] of a folder whose scores were read already.
    pub fn problems_beside(&self, scores: &Scores) -> Vec<String> {
        let Some(record) = self.record() else {
            return vec![format!(
                "{JOB_FILE} is missing or was changed, or the folder was renamed"
            )];
        };
        let mut found = Vec::new();
        if !self.has_per_image(&scores.per_image_sha256) {
            found.push(format!("{PER_IMAGE_FILE} is missing or was changed"));
        }
        // An external method's images stay where they are; the record has their hash.
        if record.identity.external.is_none() {
            found.extend(self.image_problems(scores.images));
        }
        found
    }

    fn image_problems(&self, expected: usize) -> Vec<String> {
        let checksums = self.checksums();
        let mut found = Vec::new();
        for path in checksums.paths() {
            let bytes = std::fs::read(self.path.join(path));
            if !bytes.is_ok_and(|bytes| checksums.matches(path, &bytes)) {
                found.push(format!("{} is missing or was changed", path.display()));
            }
        }
        let count = checksums.count();
        if count != expected {
            found.push(format!(
                "{CHECKSUMS_FILE} has {count} pictures, the scores are of {expected}"
            ));
        }
        found
    }

    fn has_per_image(&self, sha256: &str) -> bool {
        sha256_file(&self.path.join(PER_IMAGE_FILE)).is_ok_and(|found| found == sha256)
    }

    /// What must be equal when a job is done twice: its numbers and the hash of its images.
    ///
    /// # Errors
    /// The job is not finished.
    pub fn results(&self) -> Result<(BTreeMap<String, f64>, String)> {
        let scores = self.scores();
        let scores = scores.with_context(|| format!("{} is not finished", self.path.display()))?;
        Ok((scores.metrics, scores.images_sha256))
    }

    /// Takes the folder for this process, or nothing when another process has it. The lock is the
    /// system's (flock), so it never outlives its owner.
    ///
    /// # Errors
    /// The folder cannot be made or locked.
    pub fn try_lock(&self) -> Result<Option<JobLock>> {
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot make {}", self.path.display()))?;
        let path = self.path.join(".lock");
        let file = std::fs::File::create(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(JobLock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Removes what a killed process left half-written and writes what the job is. The folder must
    /// be locked first.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(&self, job: &Job) -> Result<()> {
        for folder in [&self.path, &self.path.join("images")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.to_string_lossy().ends_with(TEMPORARY) {
                    std::fs::remove_file(path)?;
                }
            }
        }
        // A folder kept under an earlier name of its row keeps its record too.
        if self.record().is_some() {
            return Ok(());
        }
        let record = JobRecord {
            row: job.row.clone(),
            identity: job.identity.clone(),
        };
        write_atomically(
            &self.path.join(JOB_FILE),
            &serde_json::to_vec_pretty(&record)?,
        )
    }

    /// The pixels of a translated image that is there, whole, and the one that was written.
    pub fn read_image(&self, checksums: &Checksums, name: &str, side: usize) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.image(name)).ok()?;
        if self.external.is_none() && !checksums.matches(&self.image_entry(name), &bytes) {
            return None;
        }
        let image = image_file::decode(&bytes).ok()?;
        (image.width == side && image.height == side).then_some(image.pixels)
    }

    /// The hashes of the images that are there.
    pub fn checksums(&self) -> Checksums {
        Checksums::read(&self.path)
    }

    /// How many images lie there, without reading them.
    pub fn count_images(&self) -> usize {
        let extension = self.format.extension();
        let entries = std::fs::read_dir(self.path.join("images"))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter(|entry| entry.path().extension().is_some_and(|x| x == extension))
            .count()
    }

    fn encode(&self, images: &ImageSet, i: usize) -> Result<Vec<u8>> {
        match self.format {
            ImageFormat::Png => encode_png(&images.image(i)),
            ImageFormat::Jpeg75 => {
                let pixels = images.pixels_of(i).to_vec();
                encode_jpeg75(&Rgb {
                    width: images.side,
                    height: images.side,
                    pixels,
                })
            }
        }
    }

    /// Writes images, one file each, then their hashes: an image without one was not finished.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_images(&self, checksums: &mut Checksums, images: &ImageSet) -> Result<()> {
        for (i, name) in images.names.iter().enumerate() {
            let bytes = self.encode(images, i)?;
            write_atomically(&self.image(name), &bytes)?;
            checksums.add(&self.image_entry(name), &bytes);
        }
        checksums.write(&self.path)
    }

    /// All images by name, in order.
    ///
    /// # Errors
    /// Names the first image that is missing or was changed.
    pub fn read_all(&self, names: &[String], side: usize) -> Result<ImageSet> {
        let (checksums, mut images) = (self.checksums(), ImageSet::empty(side));
        for name in names {
            let pixels = self.read_image(&checksums, name, side);
            let pixels = pixels.with_context(|| {
                format!("{} is missing or was changed", self.image(name).display())
            })?;
            images.pixels.extend(pixels);
            images.names.push(name.clone());
        }
        Ok(images)
    }

    /// Writes per-image values; returns the file's SHA-256.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_per_image(&self, per_image: &PerImage) -> Result<String> {
        per_image.write(&self.path)
    }

    /// The per-image values behind scores.
    ///
    /// # Errors
    /// The file is missing or was changed.
    pub fn per_image(&self, scores: &Scores) -> Result<PerImage> {
        PerImage::read(&self.path, &scores.per_image_sha256)
    }

    /// Writes the scores, which ends the job.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(&self, scores: &Scores) -> Result<()> {
        write_atomically(&self.path.join(SCORES_FILE), &scores.to_sealed()?)
    }
}

/// Hash over pixels, for `images_sha256`.
pub fn pixels_sha256(images: &ImageSet) -> String {
    sha256_hex(&images.pixels)
}
