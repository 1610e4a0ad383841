//! What translations are compared with: the features of the target domain's images.

use crate::frechet::Statistics;
use anyhow::Result;
use tch::Tensor;

/// Features of reference images and their statistics.
#[derive(Debug)]
pub struct Reference {
    /// Mean and covariance of the features.
    pub statistics: Statistics,
    /// `[n, d]`, float32; none when only statistics were published.
    pub features: Option<Tensor>,
}

impl Reference {
    /// From features `[n, d]`, n at least 2.
    ///
    /// # Errors
    /// Fewer than two images, or a shape that is none of a feature matrix.
    pub fn from_features(features: Tensor) -> Result<Self> {
        Ok(Self {
            statistics: Statistics::from_features(&features)?,
            features: Some(features),
        })
    }

    /// From published statistics alone.
    pub fn from_statistics(statistics: Statistics) -> Self {
        Self {
            statistics,
            features: None,
        }
    }

    /// Number of images, where they are known; 0 where only statistics are.
    pub fn count(&self) -> usize {
        self.features
            .as_ref()
            .map_or(0, |features| features.size()[0] as usize)
    }
}
