//! The features that metrics over sets compare, and these metrics' values.

use crate::frechet::{FEWEST_FOR_FID, Statistics, frechet_distance};
use crate::kid::{Kid, kid};
use crate::precision_recall::{NEIGHBOURS, PrecisionRecall, precision_recall};
use crate::reference::Reference;
use crate::target_share::ClassifierLogits;
use anyhow::Result;
use std::cell::OnceCell;
use tch::Tensor;

/// The features that metrics over sets compare. What several metrics need is computed once.
pub struct FeatureSets<'a> {
    /// `[n, d]`, float32.
    pub translated: &'a Tensor,
    /// The target domain's side of the comparison; its features have the same d.
    pub reference: &'a Reference,
    /// What a classifier says of the images; none where there is none that knows the target.
    pub classified: Option<ClassifierLogits>,
    kid: OnceCell<Kid>,
    precision_recall: OnceCell<PrecisionRecall>,
}

/// KID's subsets are drawn with the same seed everywhere.
const KID_SEED: u64 = 0;

/// KID halves its sets, and half of fewer images than these has no unbiased estimate; precision and
/// recall have no neighbours to speak of.
pub const FEWEST_FOR_KID: usize = 4;

impl<'a> FeatureSets<'a> {
    /// Features of translations `[n, d]` beside those of the reference.
    pub fn new(translated: &'a Tensor, reference: &'a Reference) -> Self {
        Self {
            translated,
            reference,
            classified: None,
            kid: OnceCell::new(),
            precision_recall: OnceCell::new(),
        }
    }

    /// The reference's features, where they are known and both sets are large enough.
    fn comparable_features(&self) -> Option<&'a Tensor> {
        let real = self.reference.features.as_ref()?;
        let fewest = self.translated.size()[0].min(real.size()[0]) as usize;
        (fewest >= FEWEST_FOR_KID).then_some(real)
    }

    fn kid(&self) -> Result<Option<&Kid>> {
        let Some(real) = self.comparable_features() else {
            return Ok(None);
        };
        if self.kid.get().is_none() {
            let _ = self.kid.set(kid(self.translated, real, KID_SEED)?);
        }
        Ok(self.kid.get())
    }

    fn precision_recall(&self) -> Result<Option<&PrecisionRecall>> {
        let Some(real) = self.comparable_features() else {
            return Ok(None);
        };
        if self.precision_recall.get().is_none() {
            let neighbours = NEIGHBOURS.min(self.translated.size()[0] - 1);
            let found = precision_recall(self.translated, real, neighbours)?;
            let _ = self.precision_recall.set(found);
        }
        Ok(self.precision_recall.get())
    }
}

/// The Fréchet distance; none of a single image.
pub(crate) fn fid(sets: &FeatureSets) -> Result<Option<f64>> {
    if (sets.translated.size()[0] as usize) < FEWEST_FOR_FID {
        return Ok(None);
    }
    let own = Statistics::from_features(sets.translated)?;
    Ok(Some(frechet_distance(&own, &sets.reference.statistics)?))
}

/// KID's mean over its subsets.
pub(crate) fn kid_mean(sets: &FeatureSets) -> Result<Option<f64>> {
    Ok(sets.kid()?.map(|kid| kid.mean))
}

/// The deviation of KID's subsets.
pub(crate) fn kid_subset_std(sets: &FeatureSets) -> Result<Option<f64>> {
    Ok(sets.kid()?.map(|kid| kid.std))
}

/// Precision among the reference images.
pub(crate) fn precision(sets: &FeatureSets) -> Result<Option<f64>> {
    Ok(sets.precision_recall()?.map(|found| found.precision))
}

/// Recall of the reference images.
pub(crate) fn recall(sets: &FeatureSets) -> Result<Option<f64>> {
    Ok(sets.precision_recall()?.map(|found| found.recall))
}
