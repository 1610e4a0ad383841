//! The classifier behind a task's features, asked which translations it calls the target: it took
//! no part in making them, unlike the extractor.

use super::feature_network::FeatureNetwork;
use crate::inputs::task::Task;
use crate::project::Project;
use anyhow::Result;
use egsde_data::image_set::ImageSet;
use egsde_metrics::target_share::ClassifierLogits;
use std::cell::OnceCell;
use tch::{Device, Tensor};

/// A classifier whose classes have the task's target among them.
pub struct TargetClassifier {
    target: i64,
    reference: Tensor,
    /// Every job of a plan translates the same sources.
    sources: OnceCell<Tensor>,
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
            sources: OnceCell::new(),
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
        if self.sources.get().is_none()
            && let Some(logits) = network.logits(&network.features(sources, device)?)
        {
            let _ = self.sources.set(logits);
        }
        let sources = self.sources.get().map(Tensor::shallow_clone);
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
}
