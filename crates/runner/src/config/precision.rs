//! Working precision of networks.

use crate::runtime::device::{card, device_name};
use egsde_models::cuda::Card;
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

    /// What it means for images of the paper's scale, for people. The authors' code sets
    /// `use_fp16: False` and names PyTorch 1.9 for CUDA 10.2, which has no TF32.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::F32 => {
                "full float32, as the authors' numbers were made; on a GPU tf32 takes about half \
                 the time and bf16 a quarter (docs/paper-scale.md)"
            }
            Self::Tf32 => {
                "float32 whose products a GPU rounds to 10 bits of mantissa: about PyTorch's \
                 default of today; the authors' numbers are of full float32"
            }
            Self::Bf16 => {
                "networks in bf16, 7 bits of mantissa; sampler and scores in float32; the \
                 authors' numbers are of full float32"
            }
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
        if let Some(text) = card(device).and_then(|card| self.missing_on(device, &card)) {
            return Err(text);
        }
        egsde_models::tf32::allow(self == Self::Tf32);
        Ok(())
    }

    /// What to say when a GPU does not compute in it: libtorch would take float32 for tf32 without
    /// a word, and emulate bf16 at a fraction of float32's speed.
    fn missing_on(self, device: Device, card: &Card) -> Option<String> {
        (self != Self::F32 && !card.capability.has_bf16_and_tf32()).then(|| {
            format!(
                "precision {self}: {}, a {} of compute capability {}, does not compute in it \
                 (8.0, Ampere, does): take f32",
                device_name(device),
                card.name,
                card.capability
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_models::cuda::Capability;

    #[test]
    fn turing_computes_in_float32_only() {
        let card = |major, minor| Card {
            name: "Tesla T4".into(),
            capability: Capability { major, minor },
            memory_bytes: 0,
            driver: String::new(),
        };
        let (turing, ampere, device) = (card(7, 5), card(8, 0), Device::Cuda(0));
        for precision in [Precision::Tf32, Precision::Bf16] {
            let text = precision.missing_on(device, &turing).unwrap();
            assert!(
                text.contains("Tesla T4") && text.contains("7.5") && text.contains("take f32"),
                "{text}"
            );
            assert_eq!(precision.missing_on(device, &ampere), None);
        }
        assert_eq!(Precision::F32.missing_on(device, &turing), None);
    }
}
