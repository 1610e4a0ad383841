//! A job's folder: `job.json`, `images/`, `images.sha256`, `per_image.safetensors`, `scores.json`.
//! Each of them is written under a temporary name and renamed, so that a killed process leaves no
//! partial file behind under a final name, and hashes reveal files that were changed.

use super::checksums::{CHECKSUMS_FILE, Checksums};
use super::per_image::{PER_IMAGE_FILE, PerImage};
use super::scores::{SCORES_FILE, Scores};
use crate::config::image_format::ImageFormat;
use crate::inputs::image_folder::ImageFolder;
use crate::plan::{Identity, Job};
use anyhow::{Context, Result};
use egsde_data::files::{TEMPORARY, make_folder, sha256_file, sha256_hex, write_atomically};
use egsde_data::image_file::{self, Rgb, encode_jpeg75};
use egsde_data::image_set::{ImageSet, encode_png};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What errors of writing into a job's folder begin with.
pub const CANNOT_WRITE_RESULTS: &str = "cannot write results";

/// Name of the file with the job's row and identity.
pub const JOB_FILE: &str = "job.json";

/// The lock of a job's folder, held until it is dropped; the system releases it when the process
/// ends, however that comes about.
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
    /// The images of an external method; none for a method that samples.
    external: Option<ExternalImages>,
}

/// An external method's folder of images.
#[derive(Debug, Clone)]
struct ExternalImages {
    folder: PathBuf,
    /// The folder's images by stem, read when the first one is needed.
    by_stem: OnceLock<BTreeMap<String, PathBuf>>,
}

impl ExternalImages {
    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            by_stem: OnceLock::new(),
        }
    }

    /// The path of the image with this stem, whatever its extension. A missing image gets a path
    /// without an extension, so that reading it fails and the error names it.
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
    /// The folder of a job inside its experiment's folder.
    pub fn new(experiment: &Path, job: &Job) -> Self {
        Self {
            path: experiment.join(&job.id),
            format: job.identity.format,
            external: job.external_images.clone().map(ExternalImages::new),
        }
    }

    /// The folder of a job at `path`, for its scores and for checking its files. The image format
    /// is not known here, so images are read and written through [`JobDir::new`] only.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.into(),
            format: ImageFormat::default(),
            external: None,
        }
    }

    /// The path of the folder.
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

    /// The path of an image relative to the folder, as `images.sha256` lists it.
    fn image_entry(&self, name: &str) -> PathBuf {
        Path::new("images").join(format!("{name}.{}", self.format.extension()))
    }

    /// The scores; none where `scores.json` is missing, unreadable or was changed.
    pub fn scores(&self) -> Option<Scores> {
        Scores::from_sealed(&std::fs::read(self.path.join(SCORES_FILE)).ok()?)
    }

    /// The contents of `job.json`; none where it is missing or unreadable, or where its row and
    /// identity give another folder name than this one.
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

    /// As [`JobDir::problems`], for a folder whose scores the caller has read already.
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
        // An external method's images lie outside the folder, and the identity has their hash.
        if record.identity.external.is_none() {
            found.extend(self.image_problems(scores.images));
        }
        found
    }

    /// The images that are missing or were changed, and a count of images other than `expected`.
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

    /// Whether the per-image values are there and have this hash.
    fn has_per_image(&self, sha256: &str) -> bool {
        sha256_file(&self.path.join(PER_IMAGE_FILE)).is_ok_and(|found| found == sha256)
    }

    /// The metrics and the hash of the images: what must be equal when the same job runs twice.
    ///
    /// # Errors
    /// The job is not finished.
    pub fn results(&self) -> Result<(BTreeMap<String, f64>, String)> {
        let scores = self.scores();
        let scores = scores.with_context(|| format!("{} is not finished", self.path.display()))?;
        Ok((scores.metrics, scores.images_sha256))
    }

    /// Locks the folder for this process; none where another process holds the lock. The system
    /// keeps the lock (flock), so it never outlives its owner.
    ///
    /// # Errors
    /// The folder cannot be created or locked.
    pub fn try_lock(&self) -> Result<Option<JobLock>> {
        make_folder(&self.path)?;
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

    /// Removes temporary files of a killed process and writes `job.json`. The caller must hold the
    /// lock, since another process's temporary files are still in use.
    ///
    /// # Errors
    /// A temporary file cannot be removed, or `job.json` cannot be written.
    pub fn begin(&self, job: &Job) -> Result<()> {
        for folder in [&self.path, &self.path.join("images")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.to_string_lossy().ends_with(TEMPORARY) {
                    std::fs::remove_file(path)?;
                }
            }
        }
        // A job whose row was renamed keeps its folder, whose name matches the earlier record only.
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

    /// The pixels of a translated image; none where it is missing, damaged, not `side` pixels wide
    /// and high, or not the one that `checksums` lists.
    pub fn read_image(&self, checksums: &Checksums, name: &str, side: usize) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.image(name)).ok()?;
        if self.external.is_none() && !checksums.matches(&self.image_entry(name), &bytes) {
            return None;
        }
        let image = image_file::decode(&bytes).ok()?;
        (image.width == side && image.height == side).then_some(image.pixels)
    }

    /// The hashes that `images.sha256` lists, which are those of finished images.
    pub fn checksums(&self) -> Checksums {
        Checksums::read(&self.path)
    }

    /// The number of image files in the folder; their contents are not checked.
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

    /// The bytes of image `i` in the job's format.
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

    /// Writes one file per image, then the hashes, so that an image without a hash counts as not
    /// finished.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_images(&self, checksums: &mut Checksums, images: &ImageSet) -> Result<()> {
        let write = |(i, name): (usize, &String)| -> Result<Vec<u8>> {
            let bytes = self.encode(images, i)?;
            write_atomically(&self.image(name), &bytes)?;
            Ok(bytes)
        };
        let names = images.names.par_iter().enumerate();
        let written = names.map(write).collect::<Result<Vec<_>>>()?;
        for (name, bytes) in images.names.iter().zip(&written) {
            checksums.add(&self.image_entry(name), bytes);
        }
        checksums.write(&self.path)
    }

    /// Reads the images with these names, in their order.
    ///
    /// # Errors
    /// An image is missing or was changed; the error names the first such image.
    pub fn read_all(&self, names: &[String], side: usize) -> Result<ImageSet> {
        let (checksums, mut images) = (self.checksums(), ImageSet::empty(side));
        let all_pixels: Vec<Option<Vec<u8>>> = names
            .par_iter()
            .map(|name| self.read_image(&checksums, name, side))
            .collect();
        for (name, pixels) in names.iter().zip(all_pixels) {
            let pixels = pixels.with_context(|| {
                format!("{} is missing or was changed", self.image(name).display())
            })?;
            images.pixels.extend(pixels);
            images.names.push(name.clone());
        }
        Ok(images)
    }

    /// Writes the per-image values; returns the file's SHA-256.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_per_image(&self, per_image: &PerImage) -> Result<String> {
        per_image.write(&self.path)
    }

    /// The per-image values from which `scores` were computed.
    ///
    /// # Errors
    /// The file is missing or was changed.
    pub fn per_image(&self, scores: &Scores) -> Result<PerImage> {
        PerImage::read(&self.path, &scores.per_image_sha256)
    }

    /// Writes `scores.json`, with which the job counts as finished.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(&self, scores: &Scores) -> Result<()> {
        write_atomically(&self.path.join(SCORES_FILE), &scores.to_sealed()?)
    }
}

/// SHA-256 over the pixels of all images, which `scores.json` keeps as `images_sha256`.
pub fn pixels_sha256(images: &ImageSet) -> String {
    sha256_hex(&images.pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_image_is_found_by_its_stem_however_its_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.PNG", "b.webp", "cafe\u{301}.jpeg", "._b.webp"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let images = ExternalImages::new(folder.path().into());
        for (stem, name) in [
            ("a", "a.PNG"),
            ("b", "b.webp"),
            ("caf\u{e9}", "cafe\u{301}.jpeg"),
            ("none", "none"),
        ] {
            assert_eq!(images.image(stem), folder.path().join(name));
        }
    }
}
