//! The published evaluation of any folders of pictures: FID, L2, PSNR, SSIM under a protocol.

use crate::error::{Problem, UserError};
use crate::manifest::listing;
use crate::memory::in_parts;
use crate::progress::Progress;
use anyhow::Result;
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::image_file;
use egsde_metrics::pair::{PairScore, means, pair_scores};
use egsde_metrics::protocol::{Protocol, inception_features, pair_input};
use egsde_metrics::statistics_file;
use egsde_models::files::{sha256_file, sha256_hex};
use egsde_models::inception::InceptionConfig;
use egsde_models::weights::{WeightFile, read_safetensors, write_safetensors};
use egsde_models::{Inception, Loaded, NetworkConfig};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
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
    /// Where reference features are kept, named by content.
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

    /// What was read; notes the file when it could not be.
    fn good<T>(&mut self, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.bad(format!("{error:#}"))).ok()
    }
}

/// What translations are compared with.
#[derive(Debug)]
pub struct Reference {
    pub statistics: Statistics,
    /// `[n, d]`; none when only statistics were published.
    pub features: Option<Tensor>,
}

impl Reference {
    /// Of features.
    pub fn of(features: Tensor) -> Result<Self> {
        Ok(Self {
            statistics: Statistics::of(&features)?,
            features: Some(features),
        })
    }

    /// Pictures, where they are known.
    fn count(&self) -> usize {
        self.features.as_ref().map_or(0, |f| f.size()[0] as usize)
    }
}

const FEATURES: &str = "features";

/// Metadata key of the hash over a kept file's numbers.
const SEAL: &str = "egsde.sha256";

fn seal(features: &Tensor) -> Result<String> {
    let values = Vec::<f32>::try_from(features.to_kind(Kind::Float).flatten(0, -1))?;
    let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(sha256_hex(&bytes))
}

/// Kept features, unless they are missing or were changed.
fn read_features(path: &Path) -> Option<Tensor> {
    let mut file = read_safetensors(path).ok()?;
    let features = file.tensors.remove(FEATURES)?;
    (file.metadata.get(SEAL) == seal(&features).ok().as_ref()).then_some(features)
}

fn keep_features(path: &Path, features: &Tensor) -> Result<()> {
    let tensors = BTreeMap::from([(FEATURES.to_string(), features.shallow_clone())]);
    let metadata = BTreeMap::from([(SEAL.to_string(), seal(features)?)]);
    write_safetensors(path, &WeightFile { tensors, metadata }, Kind::Float)
}

/// Pairs of pictures decoded together, on all cores.
const PAIRS_DECODED: usize = 64;

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
    Loaded::open_as(
        path,
        &NetworkConfig::Inception(InceptionConfig {}),
        device,
        Kind::Float,
    )
    .user("FID Inception weights")
}

impl Evaluation {
    /// Stops, counting and naming what is bad, unless bad files are to be left out.
    fn settle(&self, answer: &Answer) -> Result<()> {
        let bad = &answer.skipped;
        if self.skip_bad || bad.is_empty() {
            return Ok(());
        }
        let more = bad.len().saturating_sub(NAMED);
        let rest = if more == 0 {
            String::new()
        } else {
            format!("; and {more} more")
        };
        let named = bad[..bad.len() - more].join("; ");
        Err(Problem::user(format!(
            "{} bad files: {named}{rest} (--skip-bad leaves them out and says so)",
            bad.len()
        )))
    }

    /// Features of all readable pictures. A batch is decoded on all cores while the one before goes through the network.
    fn features(
        &self,
        paths: &[&PathBuf],
        bar: &mut Progress,
        answer: &mut Answer,
    ) -> Result<Option<Tensor>> {
        let (protocol, batch) = (self.protocol, self.batch);
        let input = |path: &&PathBuf| {
            image_file::read(path).map(|picture| protocol.inception_input(&picture))
        };
        let mut parts = Vec::new();
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            scope.spawn(move || {
                let decoded = paths
                    .chunks(batch)
                    .map(|chunk| chunk.par_iter().map(input).collect::<Vec<_>>());
                // Nobody listens any more: the other side has failed.
                decoded
                    .map(|inputs| sender.send(inputs))
                    .take_while(Result::is_ok)
                    .for_each(drop);
            });
            for decoded in receiver {
                let count = decoded.len() as u64;
                let inputs = decoded
                    .into_iter()
                    .filter_map(|input| answer.good(input))
                    .collect::<Result<Vec<_>>>()?;
                let together = |part: Range<usize>| {
                    inception_features(&self.inception, &inputs[part], batch, self.device)
                };
                parts.extend(in_parts(inputs.len(), batch, together)?);
                bar.add(count, "features");
            }
            Ok(if parts.is_empty() {
                None
            } else {
                Some(Tensor::f_cat(&parts, 0)?)
            })
        })
    }

    /// Features `[n, d]` of the readable picture files; `of` names them in errors.
    pub fn features_of(
        &self,
        of: &Path,
        paths: &[&PathBuf],
        bar: &mut Progress,
        answer: &mut Answer,
    ) -> Result<Tensor> {
        let features = self.features(paths, bar, answer)?;
        self.settle(answer)?;
        features.ok_or_else(|| Problem::user(format!("{}: no picture can be read", of.display())))
    }

    /// Name of cached features: all that decides them.
    fn cache_file(&self, paths: &[&PathBuf]) -> Result<PathBuf> {
        let mut text = format!("{:?} {}", self.protocol, self.inception_sha256);
        for path in paths {
            text += &sha256_file(path)?;
        }
        Ok(self.cache.join(format!(
            "{}.safetensors",
            &sha256_hex(text.as_bytes())[..24]
        )))
    }

    /// What translations are compared with: a folder, or statistics (`.npz`).
    pub fn target(
        &self,
        target: &Path,
        bar: &mut Progress,
        answer: &mut Answer,
    ) -> Result<Reference> {
        if target.is_file() {
            let statistics = statistics_file::read(target).user("target statistics")?;
            return Ok(Reference {
                statistics,
                features: None,
            });
        }
        let listing = listing(target)?;
        let paths: Vec<&PathBuf> = listing.values().collect();
        let cached = self.cache_file(&paths)?;
        if let Some(features) = read_features(&cached) {
            return Reference::of(features).user(target.display());
        }
        let before = answer.skipped.len();
        let features = self.features_of(target, &paths, bar, answer)?;
        if answer.skipped.len() == before {
            keep_features(&cached, &features).user("cannot keep the target's features")?;
        }
        Reference::of(features).user(target.display())
    }

    /// Source and translation of each stem; what has no counterpart is bad.
    fn pairs(
        &self,
        source: &Path,
        translated: &BTreeMap<String, PathBuf>,
        answer: &mut Answer,
    ) -> Result<Vec<(PathBuf, PathBuf)>> {
        let sources = listing(source)?;
        for (_, path) in sources.iter().filter(|(s, _)| !translated.contains_key(*s)) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            answer.bad(format!(
                "source {} has no translation named {stem}.*",
                path.display()
            ));
        }
        let mut pairs = Vec::new();
        for (stem, path) in translated {
            match sources.get(stem) {
                Some(source) => pairs.push((source.clone(), path.clone())),
                None => answer.bad(format!(
                    "translation {} has no source named {stem}.*",
                    path.display()
                )),
            }
        }
        Ok(pairs)
    }

    /// L2, PSNR and SSIM of each pair of source and translation files.
    pub fn pair_scores(
        &self,
        pairs: &[(PathBuf, PathBuf)],
        answer: &mut Answer,
    ) -> Result<Vec<PairScore>> {
        let mut scores = Vec::with_capacity(pairs.len());
        let input = |path: &PathBuf| image_file::read(path).map(|picture| pair_input(&picture));
        for chunk in pairs.chunks(PAIRS_DECODED) {
            let decoded: Vec<_> = chunk
                .par_iter()
                .map(|(source, path)| (input(source), input(path)))
                .collect();
            for ((source, path), (a, b)) in chunk.iter().zip(decoded) {
                let (Some(a), Some(b)) = (answer.good(a), answer.good(b)) else {
                    continue;
                };
                let (a, b) = (a?, b?);
                if a.size() != b.size() {
                    answer.bad(format!(
                        "{} and {} differ in shape: {:?}, {:?}",
                        source.display(),
                        path.display(),
                        a.size(),
                        b.size()
                    ));
                    continue;
                }
                scores.extend(pair_scores(&a, &b)?);
            }
        }
        self.settle(answer)?;
        if scores.is_empty() {
            return Err(Problem::user(
                "no pair of source and translation can be compared",
            ));
        }
        answer.pairs = scores.len();
        Ok(scores)
    }

    /// Means over pairs into `answer`.
    fn faithfulness(&self, pairs: &[(PathBuf, PathBuf)], answer: &mut Answer) -> Result<()> {
        let scores = self.pair_scores(pairs, answer)?;
        answer
            .metrics
            .extend(means(&scores).map(|(key, mean)| (key.to_string(), mean)));
        Ok(())
    }

    /// Everything, and the target's statistics; without `source` only FID.
    pub fn run(
        &self,
        source: Option<&Path>,
        translated: &Path,
        target: &Path,
    ) -> Result<(Answer, Statistics)> {
        let protocol = format!("{:?}", self.protocol).to_lowercase();
        let mut answer = Answer {
            protocol,
            inception_sha256: self.inception_sha256.clone(),
            ..Default::default()
        };
        let own = listing(translated)?;
        let paths: Vec<&PathBuf> = own.values().collect();
        let targets = if target.is_file() {
            0
        } else {
            listing(target)?.len()
        };
        let mut bar = Progress::new("eval", "pictures", (paths.len() + targets) as u64);
        if let Some(source) = source {
            let pairs = self.pairs(source, &own, &mut answer)?;
            self.faithfulness(&pairs, &mut answer)?;
        }
        let reference = self.target(target, &mut bar, &mut answer)?;
        let features = self.features_of(translated, &paths, &mut bar, &mut answer)?;
        bar.finish();
        let statistics = Statistics::of(&features).user(translated.display())?;
        answer.metrics.insert(
            "fid".into(),
            frechet_distance(&statistics, &reference.statistics).user("target statistics")?,
        );
        (answer.target, answer.translated) = (reference.count(), features.size()[0] as usize);
        Ok((answer, reference.statistics))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_features_that_were_changed_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.safetensors");
        let features = Tensor::randn([5, 3], (Kind::Float, Device::Cpu));
        keep_features(&path, &features).unwrap();
        assert!(read_features(&path).unwrap().equal(&features));
        let whole = std::fs::read(&path).unwrap();
        for at in whole.len() - 60..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            assert!(read_features(&path).is_none(), "byte {at}");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(read_features(&path).is_none());
    }
}
