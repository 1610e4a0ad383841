//! Multipliers of a U-Net's width, one per level.

use super::keys::text_or_list;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A multiplier of the width: a whole number, or the half of guided-diffusion's 512 px networks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Multiplier(f64);

impl Multiplier {
    /// Channels of a level, rounded down as guided-diffusion does.
    pub fn channels(self, width: i64) -> i64 {
        (self.0 * width as f64) as i64
    }

    /// The number itself.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl From<f64> for Multiplier {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl Serialize for Multiplier {
    /// A whole number is written as one.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 1e9 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Multiplier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self)
    }
}

/// Reads a list of multipliers, or guided-diffusion's text of them (`"1,2,3,4"`); an empty text is
/// an empty list.
pub(super) fn multipliers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Multiplier>, D::Error> {
    let numbers: Vec<f64> = text_or_list(deserializer)?;
    Ok(numbers.into_iter().map(Multiplier).collect())
}

/// guided-diffusion's multipliers of an image size, where none are given.
pub(super) fn default_multipliers(image_size: i64) -> Option<Vec<Multiplier>> {
    let multipliers: &[f64] = match image_size {
        512 => &[0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0],
        256 => &[1.0, 1.0, 2.0, 2.0, 4.0, 4.0],
        128 => &[1.0, 1.0, 2.0, 3.0, 4.0],
        64 => &[1.0, 2.0, 3.0, 4.0],
        _ => return None,
    };
    Some(multipliers.iter().copied().map(Multiplier).collect())
}

/// Channels of every level.
pub(super) fn level_channels(multipliers: &[Multiplier], width: i64) -> Vec<i64> {
    multipliers.iter().map(|m| m.channels(width)).collect()
}
