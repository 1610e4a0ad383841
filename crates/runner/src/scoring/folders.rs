//! The published evaluation of any folders of images, under a protocol.

use super::reference::ReferenceCache;
use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::image_folder::image_files;
use crate::runtime::memory::in_parts;
use crate::runtime::progress::Progress;
use anyhow::Result;
use egsde_data::image_file;
use egsde_metrics::fid_statistics;
use egsde_metrics::protocol::{Protocol, inception_features, pair_input};
use egsde_metrics::reference::Reference;
use egsde_metrics::registry::{FeatureSets, Metric, PerImageValues, per_image_values, values};
use egsde_models::networks::inception::InceptionConfig;
use egsde_models::{Inception, Loaded, NetworkConfig};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use tch::{Device, Kind, Tensor};

/// How folders are evaluated.
#[derive(Debug)]
pub struct FolderEvaluator {
    /// Decides how images are resized and normalised for Inception.
    pub protocol: Protocol,
    /// FID Inception's weights and their SHA-256.
    pub inception: Loaded<Inception>,
    /// Hash of the weights' file, 64 hexadecimal digits.
    pub inception_sha256: String,
    /// The metrics to compute; those per image need a folder of sources.
    pub metrics: Vec<&'static Metric>,
    /// Images that go through Inception together.
    pub batch_size: usize,
    /// Where Inception runs and its inputs are put.
    pub device: Device,
    /// Whether images that cannot be read or paired are left out instead of stopping the
    /// evaluation; the result names them.
    pub skip_bad: bool,
    /// Where features of target folders are kept between runs.
    pub cache: ReferenceCache,
}

/// The result, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
pub struct FolderScores {
    /// Name of the published evaluation: `afhq` or `celebahq`.
    pub protocol: String,
    /// Values by the keys of the metric registry; without sources only those over sets.
    pub metrics: BTreeMap<String, f64>,
    /// Number of translations whose features were computed.
    pub translated: usize,
    /// Number of target images; 0 where only their statistics are given.
    pub target: usize,
    /// Number of sources compared with their translations; 0 without sources.
    pub pairs: usize,
    /// What `--skip-bad` left out, with the reason.
    pub skipped: Vec<String>,
    /// Hash of Inception's weights, 64 hexadecimal digits.
    pub inception_sha256: String,
}

/// Images that cannot be read or paired.
#[derive(Debug, Default)]
pub struct BadImages(Vec<String>);

impl BadImages {
    /// Notes a bad image once: one that cannot be read is met for its pair and for its features.
    fn add(&mut self, text: String) {
        if !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    /// What was read; notes the image when it could not be.
    fn keep_good<T>(&mut self, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.add(format!("{error:#}"))).ok()
    }
}

/// A source and its translation.
#[derive(Debug, Clone)]
pub struct ImagePair {
    /// File of the image that was translated.
    pub source: PathBuf,
    /// File of its translation, which has the same stem.
    pub translated: PathBuf,
}

/// Pairs of images decoded together, on all cores.
const PAIRS_DECODED: usize = 64;

/// Bad images named in an error; the others are counted.
const NAMED: usize = 10;

/// FID Inception from a published file.
///
/// # Errors
/// Invalid input: the file is missing, with where to fetch it, or does not fit.
pub fn open_inception(path: &Path, device: Device) -> Result<Loaded<Inception>> {
    if !path.is_file() {
        return Err(invalid_input(format!(
            "FID Inception weights {} are missing: fetch pt_inception-2015-12-05-6726825d.pth \
             (SHA-256 begins with 6726825d) from the fid_weights release of \
             github.com/mseitzer/pytorch-fid and put it there, or name it with --inception",
            path.display()
        )));
    }
    let config = NetworkConfig::Inception(InceptionConfig {});
    Loaded::open_as(path, &config, device, Kind::Float).or_invalid_input("FID Inception weights")
}

/// The input of Inception for one image file.
fn read_inception_input(path: &Path, protocol: Protocol) -> Result<Result<Tensor>> {
    Ok(protocol.inception_input(&image_file::read(path)?))
}

/// The input of the pair metrics for one image file.
fn read_pair_input(path: &Path) -> Result<Result<Tensor>> {
    Ok(pair_input(&image_file::read(path)?))
}

impl FolderEvaluator {
    /// Stops, counting and naming what is bad, unless bad images are left out.
    fn stop_at_bad(&self, bad: &BadImages) -> Result<()> {
        let BadImages(bad) = bad;
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
        Err(invalid_input(format!(
            "{} bad files: {named}{rest} (--skip-bad leaves them out and lists them)",
            bad.len()
        )))
    }

    /// Features of all readable images; none when there is none. A batch is decoded on all cores
    /// while the one before goes through the network.
    fn readable_features(
        &self,
        paths: &[&PathBuf],
        bar: &mut Progress,
        bad: &mut BadImages,
    ) -> Result<Option<Tensor>> {
        let (protocol, batch_size) = (self.protocol, self.batch_size);
        let mut parts = Vec::new();
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            scope.spawn(move || {
                for chunk in paths.chunks(batch_size) {
                    let decoded = chunk
                        .par_iter()
                        .map(|path| read_inception_input(path, protocol));
                    // The receiver is gone once the other side has failed.
                    if sender.send(decoded.collect::<Vec<_>>()).is_err() {
                        break;
                    }
                }
            });
            for decoded in receiver {
                let count = decoded.len() as u64;
                let good = decoded.into_iter().filter_map(|input| bad.keep_good(input));
                let inputs = good.collect::<Result<Vec<_>>>()?;
                parts.extend(in_parts(inputs.len(), batch_size, |part| {
                    inception_features(&self.inception, &inputs[part], batch_size, self.device)
                })?);
                bar.add(count, "features");
            }
            Ok(if parts.is_empty() {
                None
            } else {
                Some(Tensor::f_cat(&parts, 0)?)
            })
        })
    }

    /// Features `[n, d]` of image files; `name` stands for them in errors.
    ///
    /// # Errors
    /// Invalid input: images that cannot be read (unless bad ones are left out), or none at all.
    pub fn features(
        &self,
        name: &Path,
        paths: &[&PathBuf],
        bar: &mut Progress,
        bad: &mut BadImages,
    ) -> Result<Tensor> {
        let features = self.readable_features(paths, bar, bad)?;
        self.stop_at_bad(bad)?;
        features.ok_or_else(|| invalid_input(format!("{}: no picture can be read", name.display())))
    }

    /// What translations are compared with: a folder, or statistics (`.npz`).
    ///
    /// # Errors
    /// Invalid input: a folder or file that cannot be read.
    pub fn reference(
        &self,
        target: &Path,
        bar: &mut Progress,
        bad: &mut BadImages,
    ) -> Result<Reference> {
        if target.is_file() {
            let statistics = fid_statistics::read(target).or_invalid_input("target statistics")?;
            return Ok(Reference::from_statistics(statistics));
        }
        let files = image_files(target)?;
        let paths: Vec<&PathBuf> = files.values().collect();
        let conditions = format!("{} {}", self.protocol, self.inception_sha256);
        let kept = self.cache.file(&conditions, &paths)?;
        let features = match ReferenceCache::read(&kept) {
            Some(features) => features,
            None => {
                let before = bad.0.len();
                let features = self.features(target, &paths, bar, bad)?;
                if bad.0.len() == before {
                    ReferenceCache::write(&kept, &features)
                        .or_invalid_input("cannot keep the target's features")?;
                }
                features
            }
        };
        Reference::from_features(features).or_invalid_input(target.display())
    }

    /// Source and translation of each stem; what has no counterpart is bad.
    fn pairs(
        &self,
        source: &Path,
        translated: &BTreeMap<String, PathBuf>,
        bad: &mut BadImages,
    ) -> Result<Vec<ImagePair>> {
        let sources = image_files(source)?;
        for (stem, path) in &sources {
            if !translated.contains_key(stem) {
                let path = path.display();
                bad.add(format!("source {path} has no translation named {stem}.*"));
            }
        }
        let mut pairs = Vec::new();
        for (stem, path) in translated {
            match sources.get(stem) {
                Some(source) => {
                    pairs.push(ImagePair {
                        source: source.clone(),
                        translated: path.clone(),
                    });
                }
                None => {
                    let path = path.display();
                    bad.add(format!("translation {path} has no source named {stem}.*"));
                }
            }
        }
        Ok(pairs)
    }

    /// The per-image metrics of each pair of source and translation files.
    ///
    /// # Errors
    /// Invalid input: images that cannot be read or compared (unless bad ones are left out), or
    /// none at all.
    pub fn per_image(&self, pairs: &[ImagePair], bad: &mut BadImages) -> Result<PerImageValues> {
        let mut all = PerImageValues::new();
        for chunk in pairs.chunks(PAIRS_DECODED) {
            let decoded: Vec<_> = chunk
                .par_iter()
                .map(|pair| {
                    (
                        read_pair_input(&pair.source),
                        read_pair_input(&pair.translated),
                    )
                })
                .collect();
            for (pair, (source, translated)) in chunk.iter().zip(decoded) {
                let source = bad.keep_good(source);
                let (Some(source), Some(translated)) = (source, bad.keep_good(translated)) else {
                    continue;
                };
                let (source, translated) = (source?, translated?);
                if source.size() != translated.size() {
                    bad.add(format!(
                        "{} and {} differ in shape: {:?}, {:?}",
                        pair.source.display(),
                        pair.translated.display(),
                        source.size(),
                        translated.size()
                    ));
                    continue;
                }
                for (metric, values) in per_image_values(&self.metrics, &source, &translated)? {
                    all.entry(metric).or_default().extend(values);
                }
            }
        }
        self.stop_at_bad(bad)?;
        if all.is_empty() {
            return Err(invalid_input(
                "no pair of source and translation can be compared",
            ));
        }
        Ok(all)
    }

    /// All metrics, and the reference; without `source` only those over sets.
    ///
    /// # Errors
    /// Invalid input: folders that cannot be read, or bad images (unless they are left out).
    pub fn evaluate(
        &self,
        source: Option<&Path>,
        translated: &Path,
        target: &Path,
    ) -> Result<(FolderScores, Reference)> {
        let mut bad = BadImages::default();
        let own = image_files(translated)?;
        let paths: Vec<&PathBuf> = own.values().collect();
        let targets = if target.is_file() {
            0
        } else {
            image_files(target)?.len()
        };
        let mut bar = Progress::new("eval", "pictures", (paths.len() + targets) as u64);
        let per_image = match source {
            Some(source) => {
                let pairs = self.pairs(source, &own, &mut bad)?;
                self.per_image(&pairs, &mut bad)?
            }
            None => PerImageValues::new(),
        };
        let reference = self.reference(target, &mut bar, &mut bad)?;
        let features = self.features(translated, &paths, &mut bar, &mut bad)?;
        bar.finish();
        let sets = FeatureSets::new(&features, &reference);
        let metrics = values(&self.metrics, &per_image, &sets);
        let (own, target) = (translated.display(), target.display());
        let context = format!("{own} beside the target statistics of {target}");
        let scores = FolderScores {
            protocol: self.protocol.to_string(),
            metrics: metrics.or_invalid_input(context)?,
            translated: features.size()[0] as usize,
            target: reference.count(),
            pairs: per_image.values().next().map_or(0, Vec::len),
            skipped: bad.0,
            inception_sha256: self.inception_sha256.clone(),
        };
        Ok((scores, reference))
    }
}
