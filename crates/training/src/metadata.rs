//! What trained weight files say of themselves.

use crate::recipe::RECIPE_KEY;
use anyhow::Result;
use egsde_models::NetworkConfig;
use egsde_models::networks::NETWORK_KEY;
use serde::Serialize;
use std::collections::BTreeMap;

/// Metadata key of the SHA-256 of the data.
const DATA_KEY: &str = "egsde.data_sha256";

/// Metadata key of the number of steps.
const STEPS_KEY: &str = "egsde.steps";

/// Metadata key of the evaluation on held-out images, as JSON.
pub(crate) const FIGURES_KEY: &str = "egsde.figures";

/// Metadata key of the working precision.
pub(crate) const PRECISION_KEY: &str = "egsde.precision";

/// What the files of every kind of training have: the network's configuration, the recipe, the
/// SHA-256 of the data and the steps taken.
///
/// # Errors
/// None in practice: the texts are written into memory.
pub(crate) fn training_metadata<R: Serialize>(
    network: &NetworkConfig,
    recipe: &R,
    data_sha256: &str,
    step: u64,
) -> Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([
        (NETWORK_KEY.into(), serde_json::to_string(network)?),
        (RECIPE_KEY.into(), serde_json::to_string(recipe)?),
        (DATA_KEY.into(), data_sha256.into()),
        (STEPS_KEY.into(), step.to_string()),
    ]))
}
