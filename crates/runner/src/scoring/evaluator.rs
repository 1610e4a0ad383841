//! Scores of a job's translations: the embedded scale's own features, or the published protocols on
//! the stored files.

use super::bad_images::BadImages;
use super::feature_network::{FeatureNetwork, INCEPTION_BATCH};
use super::folders::FolderEvaluator;
use super::pairs::ImagePair;
use super::reference::ReferenceCache;
use super::sides::Side;
use super::target_classifier::TargetClassifier;
use crate::error::invalid_input;
use crate::inputs::image_folder::{ImageFolder, image_files};
use crate::inputs::manifest::{Entry, Pins};
use crate::inputs::task::Task;
use crate::plan::Plan;
use crate::project::Project;
use crate::runtime::progress::Progress;
use crate::store::per_image::PerImage;
use anyhow::{Context, Result};
use egsde_data::image_set::ImageSet;
use egsde_metrics::feature_sets::FeatureSets;
use egsde_metrics::protocol::Protocol;
use egsde_metrics::reference::Reference;
use egsde_metrics::registry::{Metric, per_image_values, values};
use egsde_metrics::target_share::ClassifierLogits;
use egsde_models::tf32;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// How translations of one task become features and per-image values.
enum Backend {
    /// Features and per-image metrics of pixels as they are.
    Embedded {
        features: FeatureNetwork,
        device: Device,
        classifier: Option<TargetClassifier>,
    },
    /// FID Inception and the 256 px pair metrics, from the stored files.
    Published {
        folders: Box<FolderEvaluator>,
        sources: BTreeMap<String, PathBuf>,
    },
}

/// Scores translations of one task; the reference's features are computed once.
pub struct Evaluator {
    backend: Backend,
    reference: Reference,
    metrics: Vec<&'static Metric>,
}

/// Numbers of a job and what they were computed from.
#[derive(Debug)]
pub struct Evaluation {
    /// Values by the keys of the metric registry.
    pub metrics: BTreeMap<String, f64>,
    /// Values and features per translation, in the order of the sources.
    pub per_image: PerImage,
}

/// The manifest's entry that a task of a published protocol must name.
fn required<'a>(entry: Option<&'a Entry>, task: &Task, what: &str) -> Result<&'a Entry> {
    entry.ok_or_else(|| invalid_input(format!("task {}: its {what} must be published", task.name)))
}

impl Evaluator {
    /// The evaluator of a plan, with the reference's features kept beside its runs.
    ///
    /// # Errors
    /// Invalid input: a network or reference that is missing or another one.
    pub fn open(plan: &Plan, project: &Project, device: Device) -> Result<Self> {
        let cache = ReferenceCache::new(project.reference_cache(&plan.experiment.runs_dir));
        let metrics = plan.metrics.clone();
        // Scores are of float32, whatever made the translations.
        tf32::without(|| match plan.task.protocol.published() {
            None => Self::open_embedded(&plan.task, project, device, metrics),
            Some(protocol) => {
                Self::open_published(&plan.task, project, device, metrics, protocol, cache)
            }
        })
    }

    fn open_embedded(
        task: &Task,
        project: &Project,
        device: Device,
        metrics: Vec<&'static Metric>,
    ) -> Result<Self> {
        let features = FeatureNetwork::open(task, project, device)?;
        let images = task.reference.load(project, task.image_size, usize::MAX)?;
        let reference = features.features(&images, device)?;
        let classifier = TargetClassifier::new(task, project, &features, &reference);
        let reference = Reference::from_features(reference)?;
        let backend = Backend::Embedded {
            features,
            device,
            classifier,
        };
        Ok(Self {
            backend,
            reference,
            metrics,
        })
    }

    fn open_published(
        task: &Task,
        project: &Project,
        device: Device,
        metrics: Vec<&'static Metric>,
        protocol: Protocol,
        cache: ReferenceCache,
    ) -> Result<Self> {
        let pins = Pins::read(project)?;
        let target = required(task.reference.published(), task, "reference")?;
        let target = target.resolve(project, &pins)?;
        let weights = required(task.features.published(), task, "features")?;
        let weights = weights.resolve(project, &pins)?;
        let inception_sha256 = weights.verify_once(project)?;
        let inception = task.features.open(project, device, Kind::Float)?;
        target.verify_once(project)?;
        let folders = FolderEvaluator {
            protocol,
            inception,
            inception_sha256,
            metrics: metrics.clone(),
            batch_size: INCEPTION_BATCH,
            device,
            skip_bad: false,
            cache,
        };
        let count = target.pictures.unwrap_or(0) as u64;
        let mut bar = Progress::new("reference statistics", "pictures", count);
        let side = Side::open(&target.path, "target")?;
        side.folder()
            .map_or(Ok(()), ImageFolder::require_all_read)?;
        let reference = folders.reference(&side, &mut bar, &mut BadImages::default())?;
        bar.finish();
        let mut sources = BTreeMap::new();
        for part in task.source.parts() {
            let source = required(part.published(), task, "source")?.resolve(project, &pins)?;
            sources.extend(image_files(&source.path)?);
        }
        let backend = Backend::Published {
            folders: Box::new(folders),
            sources,
        };
        Ok(Self {
            backend,
            reference,
            metrics,
        })
    }

    /// All metrics of translations, and what they were computed from. `files` are the translations'
    /// files, in the order of `source`.
    ///
    /// # Errors
    /// A metric that cannot be computed.
    pub fn evaluate(
        &self,
        source: &ImageSet,
        files: &[PathBuf],
        translated: &ImageSet,
    ) -> Result<Evaluation> {
        let per_image = tf32::without(|| match &self.backend {
            Backend::Embedded {
                features, device, ..
            } => self.evaluate_pixels(source, translated, features, *device),
            Backend::Published { folders, sources } => {
                evaluate_files(source, files, folders, sources)
            }
        })?;
        let mut sets = FeatureSets::new(&per_image.features, &self.reference);
        sets.classified = tf32::without(|| self.classify(source, &per_image.features))?;
        let metrics = values(&self.metrics, &per_image.values, &sets)?;
        Ok(Evaluation { metrics, per_image })
    }

    fn evaluate_pixels(
        &self,
        source: &ImageSet,
        translated: &ImageSet,
        network: &FeatureNetwork,
        device: Device,
    ) -> Result<PerImage> {
        let values = per_image_values(&self.metrics, &source.tensor(), &translated.tensor())?;
        Ok(PerImage {
            values,
            features: network.features(translated, device)?,
        })
    }

    /// What the classifier of the features says, where there is one that knows the target.
    fn classify(&self, source: &ImageSet, translated: &Tensor) -> Result<Option<ClassifierLogits>> {
        match &self.backend {
            Backend::Embedded {
                features,
                device,
                classifier: Some(classifier),
            } => classifier.classify(features, source, translated, *device),
            Backend::Embedded {
                classifier: None, ..
            }
            | Backend::Published { .. } => Ok(None),
        }
    }

    /// What translations are compared with.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }
}

/// Values and features of stored files by the published protocol.
fn evaluate_files(
    source: &ImageSet,
    files: &[PathBuf],
    folders: &FolderEvaluator,
    sources: &BTreeMap<String, PathBuf>,
) -> Result<PerImage> {
    let mut pairs = Vec::new();
    for (name, file) in source.names.iter().zip(files) {
        let source = sources
            .get(name)
            .with_context(|| format!("no source named {name}"))?;
        pairs.push(ImagePair {
            source: source.clone(),
            translated: file.clone(),
        });
    }
    let mut bad = BadImages::default();
    let values = folders.compare(&pairs, &mut bad)?.values;
    let paths: Vec<&PathBuf> = files.iter().collect();
    // The bar of the run is shown meanwhile.
    let mut bar = Progress::silent();
    let features = folders.features(Path::new("translations"), &paths, &mut bar, &mut bad)?;
    Ok(PerImage { values, features })
}

/// A plan's evaluator on the CPU, opened when it is first asked for.
pub struct LazyEvaluator<'a> {
    plan: &'a Plan,
    project: &'a Project,
    evaluator: OnceCell<Evaluator>,
}

impl<'a> LazyEvaluator<'a> {
    /// Opens nothing yet.
    pub fn new(plan: &'a Plan, project: &'a Project) -> Self {
        Self {
            plan,
            project,
            evaluator: OnceCell::new(),
        }
    }

    /// What translations are compared with.
    ///
    /// # Errors
    /// As [`Evaluator::open`].
    pub fn reference(&self) -> Result<&Reference> {
        if self.evaluator.get().is_none() {
            let evaluator = Evaluator::open(self.plan, self.project, Device::Cpu)?;
            let _ = self.evaluator.set(evaluator);
        }
        let evaluator = self
            .evaluator
            .get()
            .context("the evaluator was just opened")?;
        Ok(evaluator.reference())
    }
}
