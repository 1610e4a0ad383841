//! CycleGAN (Zhu et al. 2017): as CUT, by the generator from the source's domain to the target's.

use super::cut::resnet_settings;
use serde::{Deserialize, Serialize};

/// A CycleGAN row has no keys: the task names the generator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CycleganConfig {}

resnet_settings!(CycleganConfig, Cyclegan);
