//! The classifier behind a task's features, asked which translations it calls the target: it took
//! no part in making them, unlike the extractor.

use super::feature_network::FeatureNetwork;
use crate::inputs::task::Task;
use crate::project::Project;
use anyhow::Result;
use egsde_data::image_set::ImageSet;
use egsde_metrics::target_share::ClassifierLogits;
use std::cell::RefCell;
use tch::{Device, Tensor};

/// Logits `[n, classes]` of sources, and the names of these.
struct SourceLogits {
    names: Vec<String>,
    logits: Tensor,
}

/// A classifier whose classes have the task's target among them.
pub struct TargetClassifier {
    target: i64,
    reference: Tensor,
    /// The last sources. Every job of a plan has the same ones, and a preview the first of them.
    sources: RefCell<Option<SourceLogits>>,
}

impl TargetClassifier {
    /// The classifier of a task, with the features `[n, d]` of its reference images; none where the
    /// feature network knows no class of the reference's name.
    pub fn new(
        task: &Task,
        project: &Project,
        network: &FeatureNetwork,
        reference: &Tensor,
    ) -> Option<Self> {
        Some(Self {
            target: task.target_class(project)? as i64,
            reference: network.logits(reference)?,
            sources: RefCell::new(None),
        })
    }

    /// Its logits of sources, of the features `[n, d]` of their translations, and of the reference.
    ///
    /// # Errors
    /// No memory for a single image.
    pub fn classify(
        &self,
        network: &FeatureNetwork,
        sources: &ImageSet,
        translated: &Tensor,
        device: Device,
    ) -> Result<Option<ClassifierLogits>> {
        let sources = self.source_logits(network, sources, device)?;
        let translated = network.logits(translated);
        Ok(sources
            .zip(translated)
            .map(|(sources, translated)| ClassifierLogits {
                target: self.target,
                sources,
                translated,
                reference: self.reference.shallow_clone(),
            }))
    }

    fn source_logits(
        &self,
        network: &FeatureNetwork,
        sources: &ImageSet,
        device: Device,
    ) -> Result<Option<Tensor>> {
        let mut last = self.sources.borrow_mut();
        if let Some(last) = last.as_ref().filter(|last| last.names == sources.names) {
            return Ok(Some(last.logits.shallow_clone()));
        }
        let logits = network.logits(&network.features(sources, device)?);
        *last = logits.as_ref().map(|logits| SourceLogits {
            names: sources.names.clone(),
            logits: logits.shallow_clone(),
        });
        Ok(logits)
    }
}
