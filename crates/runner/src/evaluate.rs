//! The published evaluation of any folders of pictures: FID, L2, PSNR, SSIM under a protocol.

use crate::error::{Problem, UserError};
use crate::manifest::listing;
use crate::progress::Progress;
use anyhow::Result;
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::image_file::{self, Rgb};
use egsde_metrics::pair::pair_scores;
use egsde_metrics::protocol::{Protocol, inception_features, pair_input};
use egsde_metrics::statistics_file;
use egsde_models::inception::InceptionConfig;
use egsde_models::weights::{sha256_file, sha256_hex, write_atomically};
use egsde_models::{Inception, Loaded, NetworkConfig};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// What is evaluated against what.
#[derive(Debug)]
pub struct Evaluation {
    pub protocol: Protocol,
    /// FID Inception's weights and their SHA-256.
    pub inception: Loaded<Inception>,
    pub inception_sha256: String,
    /// Pictures that go through Inception together.
    pub batch: usize,
    pub device: Device,
    /// Leave out what cannot be read or paired instead of stopping; the result says what.
    pub skip_bad: bool,
    /// Where reference statistics are kept, named by content.
    pub cache: PathBuf,
}

/// The answer, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    pub protocol: String,
    /// fid, and with sources l2, psnr, ssim.
    pub metrics: BTreeMap<String, f64>,
    pub translated: usize,
    pub target: usize,
    pub pairs: usize,
    /// What `--skip-bad` left out, with the reason.
    pub skipped: Vec<String>,
    pub inception_sha256: String,
}

impl Answer {
    /// Notes a bad file once (one that cannot be read is met twice: for its pair and for its features).
    fn bad(&mut self, text: String) {
        if !self.skipped.contains(&text) {
            self.skipped.push(text);
        }
    }
}

/// Bad files named in an error; the others are counted.
const NAMED: usize = 10;

/// FID Inception from a published file.
pub fn inception(path: &Path, device: Device) -> Result<Loaded<Inception>> {
    if !path.is_file() {
        return Err(Problem::user(format!(
            "FID Inception weights {} are missing: fetch pt_inception-2015-12-05-6726825d.pth (SHA-256 begins with 6726825d) from the \
             fid_weights release of github.com/mseitzer/pytorch-fid and put it there, or name it with --inception",
            path.display()
        )));
    }
    Loaded::open_as(path, &NetworkConfig::Inception(InceptionConfig {}), device, Kind::Float).user("FID Inception weights")
}

impl Evaluation {
    /// Stops, counting and naming what is bad, unless bad files are to be left out.
    fn settle(&self, answer: &Answer) -> Result<()> {
        let bad = &answer.skipped;
        if self.skip_bad || bad.is_empty() {
            return Ok(());
        }
        let more = bad.len().saturating_sub(NAMED);
        let rest = if more == 0 { String::new() } else { format!("; and {more} more") };
        let named = bad[..bad.len() - more].join("; ");
        Err(Problem::user(format!("{} bad files: {named}{rest} (--skip-bad leaves them out and says so)", bad.len())))
    }

    fn read(&self, path: &Path, answer: &mut Answer) -> Option<Rgb> {
        match image_file::read(path) {
            Ok(picture) => Some(picture),
            Err(error) => {
                answer.bad(format!("{error:#}"));
                None
            }
        }
    }

    /// Features of all readable pictures, a batch in memory at a time.
    fn features(&self, paths: &[&PathBuf], bar: &mut Progress, answer: &mut Answer) -> Result<Option<Tensor>> {
        let mut parts = Vec::new();
        for chunk in paths.chunks(self.batch) {
            let mut inputs = Vec::new();
            for path in chunk {
                if let Some(picture) = self.read(path, answer) {
                    inputs.push(self.protocol.inception_input(&picture)?);
                }
            }
            if !inputs.is_empty() {
                parts.push(inception_features(&self.inception, &inputs, self.batch, self.device)?);
            }
            bar.add(chunk.len() as u64, "features");
        }
        Ok(if parts.is_empty() { None } else { Some(Tensor::f_cat(&parts, 0)?) })
    }

    /// Feature statistics of picture files and how many were readable; `of` names them in errors.
    pub fn statistics(&self, of: &Path, paths: &[&PathBuf], bar: &mut Progress, answer: &mut Answer) -> Result<(Statistics, usize)> {
        let features = self.features(paths, bar, answer)?;
        self.settle(answer)?;
        let features = features.ok_or_else(|| Problem::user(format!("{}: no picture can be read", of.display())))?;
        let count = features.size()[0] as usize;
        Ok((Statistics::of(&features).user(of.display())?, count))
    }

    /// Name of cached statistics: all that decides them.
    fn cache_file(&self, paths: &[&PathBuf]) -> Result<PathBuf> {
        let mut text = format!("{:?} {}", self.protocol, self.inception_sha256);
        for path in paths {
            text += &sha256_file(path)?;
        }
        Ok(self.cache.join(format!("{}.npz", &sha256_hex(text.as_bytes())[..24])))
    }

    /// Reference statistics of a folder or an `.npz`, and the picture count where it is known.
    pub fn target(&self, target: &Path, bar: &mut Progress, answer: &mut Answer) -> Result<(Statistics, usize)> {
        if target.is_file() {
            return Ok((statistics_file::read(target).user("target statistics")?, 0));
        }
        let listing = listing(target)?;
        let paths: Vec<&PathBuf> = listing.values().collect();
        let cached = self.cache_file(&paths)?;
        if let Ok(statistics) = statistics_file::read(&cached) {
            return Ok((statistics, paths.len()));
        }
        let before = answer.skipped.len();
        let (statistics, count) = self.statistics(target, &paths, bar, answer)?;
        if answer.skipped.len() == before {
            write_atomically(&cached, &statistics_file::to_npz(&statistics)?).user("cannot keep the target's statistics")?;
        }
        Ok((statistics, count))
    }

    /// Source and translation of each stem; what has no counterpart is bad.
    fn pairs(&self, source: &Path, translated: &BTreeMap<String, PathBuf>, answer: &mut Answer) -> Result<Vec<(PathBuf, PathBuf)>> {
        let sources = listing(source)?;
        for (_, path) in sources.iter().filter(|(s, _)| !translated.contains_key(*s)) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            answer.bad(format!("source {} has no translation named {stem}.*", path.display()));
        }
        let mut pairs = Vec::new();
        for (stem, path) in translated {
            match sources.get(stem) {
                Some(source) => pairs.push((source.clone(), path.clone())),
                None => answer.bad(format!("translation {} has no source named {stem}.*", path.display())),
            }
        }
        Ok(pairs)
    }

    /// L2, PSNR and SSIM, each the mean over pairs of source and translation files, into `answer`.
    pub fn faithfulness(&self, pairs: &[(PathBuf, PathBuf)], answer: &mut Answer) -> Result<()> {
        let mut sums = [0.0; 3];
        for (source, path) in pairs {
            let (Some(a), Some(b)) = (self.read(source, answer), self.read(path, answer)) else { continue };
            let (a, b) = (pair_input(&a)?, pair_input(&b)?);
            if a.size() != b.size() {
                answer.bad(format!("{} and {} differ in shape: {:?}, {:?}", source.display(), path.display(), a.size(), b.size()));
                continue;
            }
            let score = pair_scores(&a, &b)?[0];
            sums = [sums[0] + score.l2, sums[1] + score.psnr, sums[2] + score.ssim];
            answer.pairs += 1;
        }
        self.settle(answer)?;
        if answer.pairs == 0 {
            return Err(Problem::user("no pair of source and translation can be compared"));
        }
        for (key, sum) in ["l2", "psnr", "ssim"].into_iter().zip(sums) {
            answer.metrics.insert(key.into(), sum / answer.pairs as f64);
        }
        Ok(())
    }

    /// Everything, and the target's statistics; without `source` only FID.
    pub fn run(&self, source: Option<&Path>, translated: &Path, target: &Path) -> Result<(Answer, Statistics)> {
        let protocol = format!("{:?}", self.protocol).to_lowercase();
        let mut answer = Answer { protocol, inception_sha256: self.inception_sha256.clone(), ..Default::default() };
        let own = listing(translated)?;
        let paths: Vec<&PathBuf> = own.values().collect();
        let targets = if target.is_file() { 0 } else { listing(target)?.len() };
        let mut bar = Progress::new("eval", "pictures", (paths.len() + targets) as u64);
        if let Some(source) = source {
            let pairs = self.pairs(source, &own, &mut answer)?;
            self.faithfulness(&pairs, &mut answer)?;
        }
        let (reference, count) = self.target(target, &mut bar, &mut answer)?;
        let (statistics, made) = self.statistics(translated, &paths, &mut bar, &mut answer)?;
        bar.finish();
        answer.metrics.insert("fid".into(), frechet_distance(&statistics, &reference).user("target statistics")?);
        (answer.target, answer.translated) = (count, made);
        Ok((answer, reference))
    }
}
