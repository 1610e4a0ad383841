//! The classifier behind a task's features as a judge of translations: it took no part in making
//! them, unlike the extractor.

use super::feature_network::FeatureNetwork;
use crate::inputs::task::Task;
use crate::project::Project;
use anyhow::Result;
use egsde_data::image_set::ImageSet;
use egsde_metrics::judgement::Judgement;
use std::cell::OnceCell;
use tch::{Device, Tensor};

/// A judge whose classes have the task's target among them.
pub struct Judge {
    target: i64,
    reference: Tensor,
    /// Every job of a plan translates the same sources.
    sources: OnceCell<Tensor>,
}

impl Judge {
    /// The judge of a task, with the features `[n, d]` of its reference images; none where the
    /// feature network knows no class of the reference's name.
    pub fn new(
        task: &Task,
        project: &Project,
        network: &FeatureNetwork,
        reference: &Tensor,
    ) -> Option<Self> {
        Some(Self {
            target: task.judged_class(project)? as i64,
            reference: network.logits(reference)?,
            sources: OnceCell::new(),
        })
    }

    /// What it says of sources and of the features `[n, d]` of their translations.
    ///
    /// # Errors
    /// No memory for a single image.
    pub fn judge(
        &self,
        network: &FeatureNetwork,
        sources: &ImageSet,
        translated: &Tensor,
        device: Device,
    ) -> Result<Option<Judgement>> {
        if self.sources.get().is_none()
            && let Some(logits) = network.logits(&network.features(sources, device)?)
        {
            let _ = self.sources.set(logits);
        }
        let sources = self.sources.get().map(Tensor::shallow_clone);
        let translated = network.logits(translated);
        Ok(sources
            .zip(translated)
            .map(|(sources, translated)| Judgement {
                target: self.target,
                sources,
                translated,
                reference: self.reference.shallow_clone(),
            }))
    }
}
