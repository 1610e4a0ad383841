//! A job's folder: `job.json`, `images/`, `images.sha256`, `scores.json`. Whatever is written gets a temporary name first,
//! and everything is covered by a hash.

use crate::evidence::{EVIDENCE, Evidence};
use crate::ledger::Ledger;
use crate::plan::{Identity, Job};
use crate::spec::Format;
use anyhow::{Context, Result};
use egsde_metrics::image_file::{self, Rgb, encode_jpeg75};
use egsde_metrics::pictures::{Pictures, encode_png};
use egsde_models::files::{TEMPORARY, sha256_hex, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where a number came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conditions {
    pub device: String,
    pub threads: usize,
    pub batch_size: usize,
    /// Pictures the networks saw at once at the end: smaller than the experiment's `group` when memory ran out.
    pub group: usize,
    pub libtorch: String,
    /// Whether this project's own CPU kernels took part; they round differently from libtorch's.
    // What older versions did not write is left out when it says nothing: the seal is over the text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub own_kernels: bool,
    /// Version of this program and, when built in a checkout, its commit.
    pub code: String,
    /// Seconds spent sampling in the process that finished the job, and pictures it made.
    pub sampling_seconds: f64,
    pub sampled_pictures: usize,
    /// Of the sampling seconds, those inside networks (on a GPU, in handing work over), and seconds spent on the metrics.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_seconds: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub scoring_seconds: f64,
    /// Largest resident memory of that process so far, bytes; 0 where the system does not say.
    #[serde(default)]
    pub peak_memory_bytes: u64,
}

/// The process's largest resident memory so far, bytes (Linux).
pub fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kb| kb * 1024)
}

/// The end of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scores {
    /// fid, l2, psnr, ssim; with reference pictures also kid, kid_subset_std, precision, recall.
    pub metrics: BTreeMap<String, f64>,
    pub pictures: usize,
    /// SHA-256 over the pictures' pixels in order.
    pub images_sha256: String,
    /// SHA-256 of `evidence.safetensors`.
    pub evidence_sha256: String,
    pub conditions: Conditions,
}

/// What `scores.json` holds: the scores and a hash over them.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    sha256: String,
    scores: Scores,
}

/// File name inside a job's folder.
pub const SCORES: &str = "scores.json";

impl Scores {
    /// The bytes of `scores.json`.
    pub fn sealed(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(&Sealed {
            sha256: seal(self)?,
            scores: self.clone(),
        })?)
    }
}

fn seal(scores: &Scores) -> Result<String> {
    Ok(sha256_hex(&serde_json::to_vec(scores)?))
}

/// A job's folder held by this process; the lock goes with the process, however it ends.
#[derive(Debug)]
pub struct Held(#[allow(dead_code)] std::fs::File);

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
        Self {
            path: experiment.join(&job.id),
            format: job.identity.format,
            external: job.images.clone(),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of one translated picture.
    pub fn image(&self, name: &str) -> PathBuf {
        match &self.external {
            Some(folder) => {
                let with = |e: &&str| folder.join(format!("{name}.{e}"));
                let there = crate::manifest::PICTURE_EXTENSIONS
                    .iter()
                    .map(with)
                    .find(|p| p.is_file());
                there.unwrap_or_else(|| folder.join(name))
            }
            None => self
                .path
                .join("images")
                .join(format!("{name}.{}", self.format.extension())),
        }
    }

    /// Scores when the job is finished; a file that is unreadable or was changed counts as unfinished.
    pub fn scores(&self) -> Option<Scores> {
        let text = std::fs::read(self.path.join(SCORES)).ok()?;
        let sealed: Sealed = serde_json::from_slice(&text).ok()?;
        (seal(&sealed.scores).ok()? == sealed.sha256).then_some(sealed.scores)
    }

    /// Whether it has scores, without a look at them: quick, for counting.
    pub fn has_scores(&self) -> bool {
        self.path.join(SCORES).is_file()
    }

    /// Whether nothing is wrong with it; see [`JobFolder::problems`].
    pub fn is_finished(&self) -> bool {
        self.problems().is_empty()
    }

    /// `job.json`, when it is what the folder's name says: that carries the hash of what the job is.
    fn record(&self) -> Option<Record> {
        let record: Record =
            serde_json::from_slice(&std::fs::read(self.path.join("job.json")).ok()?).ok()?;
        let path = self.path.canonicalize().ok()?;
        (record.identity.job_id(&record.row).ok()? == path.file_name()?.to_string_lossy())
            .then_some(record)
    }

    /// What is wrong with a job's folder: record, scores, evidence or pictures that are missing or were changed.
    pub fn problems(&self) -> Vec<String> {
        let Some(record) = self.record() else {
            return vec!["job.json is missing or was changed, or the folder was renamed".into()];
        };
        let Some(scores) = self.scores() else {
            return vec!["not finished, or its scores were changed".into()];
        };
        let mut found = Vec::new();
        if !self.evidence_is_whole(&scores) {
            found.push(format!("{EVIDENCE} is missing or was changed"));
        }
        // An external method's pictures stay where they are.
        if record.identity.images_sha256.is_some() {
            return found;
        }
        let ledger = self.ledger();
        let changed = |path: &&PathBuf| {
            !std::fs::read(self.path.join(path)).is_ok_and(|bytes| ledger.knows(path, &bytes))
        };
        found.extend(
            ledger
                .paths()
                .filter(changed)
                .map(|p| format!("{} is missing or was changed", p.display())),
        );
        let known = ledger.paths().count();
        if known != scores.pictures {
            found.push(format!(
                "{} knows {known} pictures, the scores are of {}",
                crate::ledger::LEDGER,
                scores.pictures
            ));
        }
        found
    }

    /// A job's folder wherever it lies, to be looked at; pictures are written by [`JobFolder::of`] only.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.into(),
            format: Format::default(),
            external: None,
        }
    }

    /// What must be equal when a job is done twice: its numbers and the hash of its pictures.
    pub fn results(&self) -> Result<(BTreeMap<String, f64>, String)> {
        let scores = self
            .scores()
            .with_context(|| format!("{} is not finished", self.path.display()))?;
        Ok((scores.metrics, scores.images_sha256))
    }

    /// Takes the folder for this process, or nothing when another process has it. The lock is the system's (flock), so it
    /// never outlives its owner.
    pub fn hold(&self) -> Result<Option<Held>> {
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot make {}", self.path.display()))?;
        let path = self.path.join(".lock");
        let file = std::fs::File::create(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held(file))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Makes the folder, removes what a killed process left half-written, and writes what the job is. Hold it first.
    pub fn begin(&self, job: &Job) -> Result<()> {
        for folder in [&self.path, &self.path.join("images")] {
            let left = std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path());
            left.filter(|p| p.to_string_lossy().ends_with(TEMPORARY))
                .try_for_each(std::fs::remove_file)?;
        }
        let record = Record {
            row: job.row.clone(),
            identity: job.identity.clone(),
        };
        write_atomically(
            &self.path.join("job.json"),
            &serde_json::to_vec_pretty(&record)?,
        )
    }

    /// The path of a picture inside the folder, as the ledger has it.
    fn entry(&self, name: &str) -> PathBuf {
        Path::new("images").join(format!("{name}.{}", self.format.extension()))
    }

    /// A translated picture that is there, whole, and the one that was written.
    pub fn read_image(&self, ledger: &Ledger, name: &str, side: usize) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.image(name)).ok()?;
        if self.external.is_none() && !ledger.knows(&self.entry(name), &bytes) {
            return None;
        }
        let image = image_file::decode(&bytes).ok()?;
        (image.width == side && image.height == side).then_some(image.pixels)
    }

    /// What is known of the pictures.
    pub fn ledger(&self) -> Ledger {
        Ledger::read(&self.path)
    }

    /// How many pictures lie there, without reading them.
    pub fn count_images(&self) -> usize {
        let entries = std::fs::read_dir(self.path.join("images"))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter(|e| {
                e.path()
                    .extension()
                    .is_some_and(|x| x == self.format.extension())
            })
            .count()
    }

    /// Writes a batch of pictures, one file each, then their hashes: what is not in the ledger was not finished.
    pub fn write_images(&self, ledger: &mut Ledger, pictures: &Pictures) -> Result<()> {
        let side = pictures.side;
        for (i, name) in pictures.names.iter().enumerate() {
            let bytes = match self.format {
                Format::Png => encode_png(&pictures.image(i))?,
                Format::Jpeg75 => encode_jpeg75(&Rgb {
                    width: side,
                    height: side,
                    pixels: pictures.picture(i).to_vec(),
                })?,
            };
            write_atomically(&self.image(name), &bytes)?;
            ledger.add(&self.entry(name), &bytes);
        }
        ledger.write(&self.path)
    }

    /// All pictures by name, in order; the error names the first that is not there.
    pub fn read_all(&self, names: &[String], side: usize) -> Result<Pictures> {
        let (ledger, mut pictures) = (self.ledger(), Pictures::empty(side));
        for name in names {
            let bytes = self.read_image(&ledger, name, side).with_context(|| {
                format!("{} is missing or was changed", self.image(name).display())
            })?;
            pictures.pixels.extend(bytes);
            pictures.names.push(name.clone());
        }
        Ok(pictures)
    }

    /// Keeps what the scores are means of; returns its SHA-256.
    pub fn keep_evidence(&self, evidence: &Evidence) -> Result<String> {
        evidence.write(&self.path)
    }

    /// What the scores of a finished job are means of.
    pub fn evidence(&self, scores: &Scores) -> Result<Evidence> {
        Evidence::read(&self.path, &scores.evidence_sha256)
    }

    fn evidence_is_whole(&self, scores: &Scores) -> bool {
        let bytes = std::fs::read(self.path.join(EVIDENCE));
        bytes.is_ok_and(|b| sha256_hex(&b) == scores.evidence_sha256)
    }

    /// Ends the job.
    pub fn finish(&self, scores: &Scores) -> Result<()> {
        write_atomically(&self.path.join(SCORES), &scores.sealed()?)
    }
}

/// Hash over pixels, for `images_sha256`.
pub fn pictures_hash(pictures: &Pictures) -> String {
    sha256_hex(&pictures.pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_older_versions_keep_their_seal() {
        let folder = tempfile::tempdir().unwrap();
        // As version 0.1.0 wrote them before it knew of own kernels.
        let old = r#"{"metrics":{"fid":1.5},"pictures":2,"images_sha256":"a","evidence_sha256":"b","conditions":{"device":"Cpu","threads":2,"batch_size":64,"group":16,"libtorch":"2.11.0","code":"egsde 0.1.0","sampling_seconds":1.25,"sampled_pictures":2,"peak_memory_bytes":7}}"#;
        let write = |scores: &str, sha256: String| {
            std::fs::write(
                folder.path().join(SCORES),
                format!("{{\"sha256\": \"{sha256}\", \"scores\": {scores}}}"),
            )
            .unwrap();
            JobFolder::at(folder.path()).scores()
        };
        let read = write(old, sha256_hex(old.as_bytes())).unwrap();
        assert_eq!(
            (
                read.metrics["fid"],
                read.conditions.own_kernels,
                read.conditions.network_seconds
            ),
            (1.5, false, 0.0)
        );
        assert!(write(&old.replace("1.5", "1.4"), sha256_hex(old.as_bytes())).is_none());
    }
}
