//! How translations are stored.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How translations are stored; metrics are computed from what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// PNG, without loss.
    #[default]
    Png,
    /// Pillow's default JPEG (quality 75, 4:2:0), from which the published numbers were computed.
    Jpeg75,
}

impl fmt::Display for ImageFormat {
    /// As experiment files spell it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "png",
            Self::Jpeg75 => "jpeg75",
        })
    }
}

impl ImageFormat {
    /// File extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg75 => "jpg",
        }
    }

    /// What a reader of a table must know about it.
    pub fn description(self) -> &'static str {
        match self {
            Self::Png => "PNG (without loss)",
            Self::Jpeg75 => "JPEG of quality 75, 4:2:0 (as published)",
        }
    }
}
