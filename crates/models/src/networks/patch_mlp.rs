//! CUT's projection of patch features (`PatchSampleF` with `mlp_sample`): two linear maps per layer
//! in front of the contrastive loss.

use super::config::check_count;
use crate::layers::Linear;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, Tensor};

/// Numbers of a projection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchMlpConfig {
    /// Length of a projected feature.
    pub nc: i64,
    /// Channels of each layer that is projected.
    pub in_channels: Vec<i64>,
}

impl PatchMlpConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        check_count("nc", self.nc, 1..=4096)?;
        check_count(
            "the number of layers",
            self.in_channels.len() as i64,
            1..=64,
        )?;
        for channels in &self.in_channels {
            check_count("a layer's channels", *channels, 1..=8192)?;
        }
        Ok(())
    }
}

/// The projection; its weights belong to the `VarStore` behind the path it was built with.
#[derive(Debug)]
pub struct PatchMlp {
    layers: Vec<[Linear; 2]>,
}

impl PatchMlp {
    pub(super) fn new(path: &Path, config: &PatchMlpConfig) -> Self {
        let mut layers = Vec::new();
        for (index, channels) in config.in_channels.iter().enumerate() {
            let at = path / format!("mlp_{index}");
            layers.push([
                Linear::new(&at / 0, *channels, config.nc),
                Linear::new(&at / 2, config.nc, config.nc),
            ]);
        }
        Self { layers }
    }

    /// Rows `[rows, channels]` of the layer at `index` in the list of layers to unit vectors
    /// `[rows, nc]`.
    pub fn project(&self, index: usize, rows: &Tensor) -> Tensor {
        let [first, second] = &self.layers[index];
        unit_rows(&second.forward(&first.forward(rows).relu()))
    }
}

/// The channels of a feature map `[n, c, h, w]` at `positions` as rows `[n p, c]`, image by image.
/// Positions are row-major, `h' w + w'`: `[p]` for all images, or `[n, p]`, one row per image.
pub fn patch_rows(feature: &Tensor, positions: &Tensor) -> Tensor {
    let (n, c) = (feature.size()[0], feature.size()[1]);
    let count = *positions.size().last().expect("positions have a dimension");
    let index = positions
        .reshape([-1, 1, count])
        .expand([n, c, count], false);
    let picked = feature.flatten(2, 3).gather(2, &index, false);
    picked.transpose(1, 2).reshape([n * count, c])
}

/// Each row divided by its length plus 1e-7.
pub fn unit_rows(rows: &Tensor) -> Tensor {
    let squares = rows.square().sum_dim_intlist(1, true, Kind::Float);
    rows / (squares.sqrt() + 1e-7)
}
