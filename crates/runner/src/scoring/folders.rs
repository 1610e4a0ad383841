//! The published evaluation of any folders of images, under a protocol.

use super::bad_images::BadImages;
use super::folder_scores::FolderScores;
use super::pairs::{ComparedPairs, ImagePair, pair_up};
use super::reference::ReferenceCache;
use super::sides::{Side, Sides};
use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::image_folder::ImageFolder;
use crate::runtime::memory::in_parts;
use crate::runtime::progress::Progress;
use anyhow::Result;
use egsde_data::image_file::{self, READERS_VERSION};
use egsde_metrics::feature_sets::FeatureSets;
use egsde_metrics::frechet::{FEWEST_FOR_FID, Statistics};
use egsde_metrics::protocol::{Protocol, inception_features, pair_input};
use egsde_metrics::reference::Reference;
use egsde_metrics::registry::{Metric, PerImageValues, per_image_values, values};
use egsde_models::networks::inception::InceptionConfig;
use egsde_models::{Inception, Loaded, NetworkConfig};
use rayon::prelude::*;
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

/// Pairs of images decoded together, on all cores.
const PAIRS_DECODED: usize = 64;

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
        if self.skip_bad { Ok(()) } else { bad.refuse() }
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

    /// What translations are compared with. Features of a folder are kept; where they cannot be,
    /// a line says so.
    ///
    /// # Errors
    /// Invalid input: images that cannot be read (unless bad ones are left out), or too few.
    pub fn reference(
        &self,
        target: &Side,
        bar: &mut Progress,
        bad: &mut BadImages,
    ) -> Result<Reference> {
        match target {
            Side::Folder(folder) => self.folder_reference(folder, bar, bad),
            Side::Statistics { statistics, .. } => {
                Ok(Reference::from_statistics(statistics.shallow_clone()))
            }
        }
    }

    fn folder_reference(
        &self,
        folder: &ImageFolder,
        bar: &mut Progress,
        bad: &mut BadImages,
    ) -> Result<Reference> {
        let paths = folder.paths();
        let (protocol, sha256) = (self.protocol, &self.inception_sha256);
        let conditions = format!("readers {READERS_VERSION} {protocol} {sha256}");
        // An image that cannot be read at all is told of when its features are asked for.
        let kept = self.cache.file(&conditions, &paths).ok();
        let features = match kept.as_deref().and_then(ReferenceCache::read) {
            Some(features) => features,
            None => {
                let before = bad.count();
                let features = self.features(&folder.path, &paths, bar, bad)?;
                if let Some(file) = kept.filter(|_| bad.count() == before)
                    && let Err(error) = ReferenceCache::write(&file, &features)
                {
                    bar.print_line(&format!(
                        "warning: the target's features are not kept for next time: {error:#}"
                    ));
                }
                features
            }
        };
        Reference::from_features(features).or_invalid_input(folder.path.display())
    }

    /// The per-image metrics of each pair of source and translation files.
    ///
    /// # Errors
    /// Invalid input: images that cannot be read or compared (unless bad ones are left out), or
    /// none at all.
    pub fn compare(&self, pairs: &[ImagePair], bad: &mut BadImages) -> Result<ComparedPairs> {
        let mut compared = ComparedPairs::default();
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
                let (source, translated) = (bad.keep_good(source), bad.keep_good(translated));
                if let Some(values) = self.pair_values(pair, source, translated, bad)? {
                    for (metric, values) in values {
                        compared.values.entry(metric).or_default().extend(values);
                    }
                    compared.translated.push(pair.translated.clone());
                }
            }
        }
        self.stop_at_bad(bad)?;
        if compared.translated.is_empty() {
            return Err(invalid_input(format!(
                "no pair of source and translation can be compared: {}",
                bad.summary()
            )));
        }
        Ok(compared)
    }

    /// The metrics of one pair; none, and a note, where it cannot be compared.
    fn pair_values(
        &self,
        pair: &ImagePair,
        source: Option<Result<Tensor>>,
        translated: Option<Result<Tensor>>,
        bad: &mut BadImages,
    ) -> Result<Option<PerImageValues>> {
        let own = pair.translated.display();
        let (source, translated) = match (source, translated) {
            (Some(source), Some(translated)) => (source?, translated?),
            (None, Some(_)) => {
                bad.add_consequence(format!("{own}: left out with its source"));
                return Ok(None);
            }
            (_, None) => return Ok(None),
        };
        let (a, b) = (source.size(), translated.size());
        if a != b {
            let source = pair.source.display();
            bad.add(format!("{source} and {own} differ in shape: {a:?}, {b:?}"));
            return Ok(None);
        }
        Ok(Some(per_image_values(&self.metrics, &source, &translated)?))
    }

    /// All metrics, and the reference; without a source only those over sets. What is left out
    /// counts in none.
    ///
    /// # Errors
    /// Invalid input: bad images (unless they are left out), or too few that are left.
    pub fn evaluate(&self, sides: &Sides) -> Result<(FolderScores, Reference)> {
        match &sides.translated {
            Side::Folder(translated) => self.evaluate_folder(translated, sides),
            Side::Statistics { statistics, .. } => self.evaluate_statistics(statistics, sides),
        }
    }

    /// The Fréchet distance of statistics to the target.
    fn evaluate_statistics(
        &self,
        translated: &Statistics,
        sides: &Sides,
    ) -> Result<(FolderScores, Reference)> {
        let mut bad = BadImages::default();
        sides.add_unread(&mut bad);
        self.stop_at_bad(&bad)?;
        let mut bar = Progress::new("eval", "pictures", sides.target.images() as u64);
        let reference = self.reference(&sides.target, &mut bar, &mut bad)?;
        bar.finish();
        let mut scores =
            sides.statistics_scores(self.protocol, translated, &reference.statistics)?;
        scores.target = counted_images(&reference);
        scores.skipped = bad.into_texts();
        scores.inception_sha256 = Some(self.inception_sha256.clone());
        Ok((scores, reference))
    }

    fn evaluate_folder(
        &self,
        translated: &ImageFolder,
        sides: &Sides,
    ) -> Result<(FolderScores, Reference)> {
        let mut bad = BadImages::default();
        sides.add_unread(&mut bad);
        let total = translated.images.len() + sides.target.images();
        let mut bar = Progress::new("eval", "pictures", total as u64);
        let compared = match &sides.source {
            Some(source) => Some(self.compare(&pair_up(source, translated, &mut bad)?, &mut bad)?),
            None => {
                self.stop_at_bad(&bad)?;
                None
            }
        };
        let reference = self.reference(&sides.target, &mut bar, &mut bad)?;
        let paths = match &compared {
            Some(compared) => compared.translated.iter().collect(),
            None => translated.paths(),
        };
        let features = self.features(&translated.path, &paths, &mut bar, &mut bad)?;
        bar.finish();
        let count = features.size()[0] as usize;
        let per_image = compared.map(|compared| compared.values).unwrap_or_default();
        let pairs = per_image.values().next().map_or(0, Vec::len);
        if pairs > 0 && pairs != count {
            return Err(invalid_input(format!(
                "{}: pictures changed while they were read: {}",
                translated.path.display(),
                bad.summary()
            )));
        }
        let metrics = self.values(&per_image, &features, &reference, sides)?;
        let scores = FolderScores {
            protocol: self.protocol.to_string(),
            not_computed: sides.missing_metrics(&metrics, pairs > 0),
            metrics,
            translated: Some(count),
            target: counted_images(&reference),
            pairs,
            skipped: bad.into_texts(),
            notes: sides.notes(),
            inception_sha256: Some(self.inception_sha256.clone()),
        };
        Ok((scores, reference))
    }
}

impl FolderEvaluator {
    fn values(
        &self,
        per_image: &PerImageValues,
        features: &Tensor,
        reference: &Reference,
        sides: &Sides,
    ) -> Result<BTreeMap<String, f64>> {
        let (own, target) = (sides.translated.path(), sides.target.path());
        let (own, target) = (own.display(), target.display());
        let sets = FeatureSets::new(features, reference);
        let metrics = values(&self.metrics, per_image, &sets);
        let metrics = metrics.or_invalid_input(format!("{own} beside {target}"))?;
        if metrics.is_empty() {
            let count = features.size()[0];
            return Err(invalid_input(format!(
                "{count} picture of {own} is left: a covariance needs at least {FEWEST_FOR_FID} \
                 pictures"
            )));
        }
        Ok(metrics)
    }
}

/// Number of a reference's images; none where only their statistics are known.
fn counted_images(reference: &Reference) -> Option<usize> {
    reference.features.is_some().then(|| reference.count())
}
