//! Scores of translated pictures: the embedded scale's own features, or the published protocols on the stored files.

use crate::error::UserError;
use crate::evaluate::{Answer, Evaluation, Reference};
use crate::evidence::Evidence;
use crate::manifest::{Pins, listing};
use crate::memory::in_parts;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::task::{Judgement, Task};
use anyhow::{Context, Result, ensure};
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::kid::kid;
use egsde_metrics::pair::{PairScore, means, pair_scores};
use egsde_metrics::pictures::Pictures;
use egsde_metrics::precision_recall::{NEIGHBOURS, precision_recall};
use egsde_models::{CifarFeatures, Inception, Loaded, tf32};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Feature passes run in batches of this many pictures, always, so that results do not depend on settings.
const FEATURE_BATCH: usize = 100;

/// The same for FID Inception (pytorch-fid's default).
const INCEPTION_BATCH: usize = 50;

/// What judges the translations of one task; reference statistics are computed once.
pub enum Judge {
    /// This project's CIFAR-10 features, pixels as they are.
    Embedded {
        features: Box<Loaded<CifarFeatures>>,
        reference: Reference,
        device: Device,
    },
    /// FID Inception and the 256 px pair metrics, from the stored files.
    Published {
        evaluation: Box<Evaluation>,
        reference: Reference,
        sources: BTreeMap<String, PathBuf>,
    },
}

/// Draws of KID's subsets, the same everywhere.
const KID_SEED: u64 = 0;

/// Features `[n, d]` of pictures; in smaller batches where there is no memory for whole ones.
///
/// # Errors
/// No memory for a single picture.
pub fn features_of(
    network: &Loaded<CifarFeatures>,
    pictures: &Pictures,
    device: Device,
) -> Result<Tensor> {
    let parts = in_parts(pictures.len(), FEATURE_BATCH, |part| {
        let batch = pictures
            .select(&part.collect::<Vec<_>>())
            .tensor()
            .to_device(device);
        Ok(tch::no_grad(|| network.features(&batch)))
    })?;
    Ok(Tensor::f_cat(&parts, 0)?.to_device(Device::Cpu))
}

impl Judge {
    /// That of an experiment, with the reference features kept beside its runs.
    pub fn of_plan(plan: &Plan, root: &Path, device: Device) -> Result<Self> {
        // Scores are of float32, whatever made the translations.
        tf32::without(|| {
            Self::open(
                &plan.task,
                root,
                device,
                root.join(&plan.spec.runs_dir).join(".statistics"),
            )
        })
    }

    /// Loads what a task is judged by. `cache` keeps reference statistics by content.
    pub fn open(task: &Task, root: &Path, device: Device, cache: PathBuf) -> Result<Self> {
        if task.protocol != Judgement::Embedded {
            return Self::published(task, root, device, cache);
        }
        let features: Loaded<CifarFeatures> = task.features.open(root, device, Kind::Float)?;
        let reference = task.reference.load(root, task.image_size, usize::MAX)?;
        let reference = Reference::of(features_of(&features, &reference, device)?)?;
        Ok(Self::Embedded {
            features: Box::new(features),
            reference,
            device,
        })
    }

    fn published(task: &Task, root: &Path, device: Device, cache: PathBuf) -> Result<Self> {
        let pins = Pins::read(root)?;
        let folder = |entry: &Option<crate::manifest::Entry>, what: &str| {
            let entry = entry
                .as_ref()
                .with_context(|| format!("task {}: its {what} must be published", task.name))
                .user("protocol")?;
            entry.resolve(root, &pins)
        };
        let (source, target) = (
            folder(&task.source.published, "source")?,
            folder(&task.reference.published, "reference")?,
        );
        let weights = folder(&task.features.published, "features")?;
        let inception_sha256 = weights.verify()?;
        let inception: Loaded<Inception> = task.features.open(root, device, Kind::Float)?;
        target.verify()?;
        let protocol = task.protocol.protocol().context("a published protocol")?;
        let batch = INCEPTION_BATCH;
        let evaluation = Box::new(Evaluation {
            protocol,
            inception,
            inception_sha256,
            batch,
            device,
            skip_bad: false,
            cache,
        });
        let count = target.pictures.unwrap_or(0) as u64;
        let mut bar = Progress::new("reference statistics", "pictures", count);
        let reference = evaluation.target(&target.path, &mut bar, &mut Answer::default())?;
        bar.finish();
        Ok(Self::Published {
            evaluation,
            reference,
            sources: listing(&source.path)?,
        })
    }

    /// All metrics of translated pictures, and what they are means of: `files` are theirs, in the order of `source`.
    pub fn score(
        &self,
        source: &Pictures,
        files: &[PathBuf],
        translated: &Pictures,
    ) -> Result<Judged> {
        tf32::without(|| self.score_in_float32(source, files, translated))
    }

    fn score_in_float32(
        &self,
        source: &Pictures,
        files: &[PathBuf],
        translated: &Pictures,
    ) -> Result<Judged> {
        let (pairs, features, reference) = match self {
            Self::Embedded {
                features,
                reference,
                device,
            } => {
                let pairs = pair_scores(&source.tensor(), &translated.tensor())?;
                (
                    pairs,
                    features_of(features, translated, *device)?,
                    reference,
                )
            }
            Self::Published {
                evaluation,
                reference,
                sources,
            } => {
                let pair = |(name, file): (&String, &PathBuf)| {
                    anyhow::Ok((
                        sources.get(name).context("no such source")?.clone(),
                        file.clone(),
                    ))
                };
                let pairs: Vec<(PathBuf, PathBuf)> = source
                    .names
                    .iter()
                    .zip(files)
                    .map(pair)
                    .collect::<Result<_>>()?;
                let mut answer = Answer::default();
                let scores = evaluation.pair_scores(&pairs, &mut answer)?;
                let paths: Vec<&PathBuf> = files.iter().collect();
                let mut bar = Progress::new("FID", "pictures", files.len() as u64);
                let features = evaluation.features_of(
                    Path::new("translations"),
                    &paths,
                    &mut bar,
                    &mut answer,
                )?;
                bar.finish();
                (scores, features, reference)
            }
        };
        let metrics = metrics(&pairs, &features, reference)?;
        for (name, value) in &metrics {
            ensure!(value.is_finite(), "{name} is {value}");
        }
        Ok(Judged {
            metrics,
            evidence: Evidence { pairs, features },
        })
    }

    /// What translations are compared with.
    pub fn reference(&self) -> &Reference {
        match self {
            Self::Embedded { reference, .. } | Self::Published { reference, .. } => reference,
        }
    }
}

/// Numbers of a job and what they were taken of.
#[derive(Debug)]
pub struct Judged {
    pub metrics: BTreeMap<String, f64>,
    pub evidence: Evidence,
}

/// Means over pairs, and distances between feature sets.
fn metrics(
    pairs: &[PairScore],
    features: &Tensor,
    reference: &Reference,
) -> Result<BTreeMap<String, f64>> {
    let own = Statistics::of(features)?;
    let mut metrics: BTreeMap<String, f64> =
        means(pairs).map(|(key, mean)| (key.into(), mean)).collect();
    metrics.insert("fid".into(), frechet_distance(&own, &reference.statistics)?);
    // A published statistics file has no features, and four pictures are the fewest KID can halve.
    if let Some(real) = reference
        .features
        .as_ref()
        .filter(|real| pairs.len().min(real.size()[0] as usize) >= 4)
    {
        let kid = kid(features, real, KID_SEED)?;
        metrics.insert("kid".into(), kid.mean);
        metrics.insert("kid_subset_std".into(), kid.std);
        let near = precision_recall(features, real, NEIGHBOURS.min(pairs.len() as i64 - 1))?;
        metrics.insert("precision".into(), near.precision);
        metrics.insert("recall".into(), near.recall);
    }
    Ok(metrics)
}
