//! Working precision of networks.

use serde::{Deserialize, Serialize};
use std::fmt;
use tch::{Device, Kind};

/// Working precision of the networks; the arithmetic of the sampler and of the metrics is float32
/// in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// float32 whose products and convolutions an NVIDIA GPU rounds to 10 bits of mantissa.
    Tf32,
    /// bfloat16.
    Bf16,
}

impl fmt::Display for Precision {
    /// As experiment files and options spell it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

impl Precision {
    /// libtorch's name of it.
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 | Self::Tf32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }

    /// Sets libtorch to it.
    ///
    /// # Errors
    /// The device does not compute in it.
    pub fn prepare(self, device: Device) -> Result<(), String> {
        if self == Self::Tf32 && !device.is_cuda() {
            return Err("precision tf32 is for GPUs: take f32, or another --device".into());
        }
        egsde_models::tf32::allow(self == Self::Tf32);
        Ok(())
    }
}
