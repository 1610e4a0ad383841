//! How images reach the networks and formulas of the published evaluation (the EGSDE authors'
//! `run_score.py`).

use anyhow::Result;
use egsde_data::image_file::Rgb;
use egsde_data::resize::{Filter, resize, resize_short_side};
use egsde_models::{Inception, Loaded};
use serde::{Deserialize, Serialize};
use std::fmt;
use tch::{Device, Tensor};

/// The published evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Raw pixels in [0, 1] into FID Inception, which resizes to 299 itself (as plain pytorch-fid
    /// does).
    Afhq,
    /// Pillow bilinear to 256 x 256, then 299 x 299, ImageNet normalisation, then the network's own
    /// 2x - 1.
    Celebahq,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 2] = [Self::Afhq, Self::Celebahq];

    /// The protocol's name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Afhq => "afhq",
            Self::Celebahq => "celebahq",
        }
    }

    /// The protocol of a name; none for a name that is not known.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.name() == name)
    }

    /// The image as this protocol gives it to FID Inception, `[1, 3, h, w]`.
    ///
    /// # Errors
    /// An image without pixels.
    pub fn inception_input(self, image: &Rgb) -> Result<Tensor> {
        match self {
            Self::Afhq => Ok(image.tensor()),
            Self::Celebahq => {
                let small = resize(image, 256, 256, Filter::Bilinear)?;
                let x = resize(&small, 299, 299, Filter::Bilinear)?.tensor();
                Ok((x - per_channel(IMAGENET_MEAN)) / per_channel(IMAGENET_STD))
            }
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// One value per channel, `[1, 3, 1, 1]`.
fn per_channel(values: [f32; 3]) -> Tensor {
    Tensor::from_slice(&values).reshape([1, 3, 1, 1])
}

/// Short side of the images that L2, PSNR and SSIM compare.
pub const PAIR_SIDE: usize = 256;

/// The image as L2, PSNR and SSIM compare it: short side to [`PAIR_SIDE`] (Pillow bicubic),
/// `[1, 3, h, w]` in [0, 1].
///
/// # Errors
/// An image without pixels.
pub fn pair_input(image: &Rgb) -> Result<Tensor> {
    Ok(resize_short_side(image, PAIR_SIDE, Filter::Bicubic)?.tensor())
}

/// pool3 features `[n, 2048]`, on the CPU, of prepared images `[1, 3, h, w]`. Neighbours of one
/// size go through the network together, at most `batch` at a time; the order is kept.
///
/// # Errors
/// There are no images, or the device has no memory for a batch.
pub fn inception_features(
    network: &Loaded<Inception>,
    inputs: &[Tensor],
    batch: usize,
    device: Device,
) -> Result<Tensor> {
    let mut parts = Vec::new();
    let mut rest = inputs;
    while let Some(first) = rest.first() {
        let same_size = rest
            .iter()
            .take(batch.max(1))
            .take_while(|x| x.size() == first.size());
        let (together, others) = rest.split_at(same_size.count());
        let together = Tensor::f_cat(together, 0)?.to_device(device);
        parts.push(tch::no_grad(|| network.features(&together)).to_device(Device::Cpu));
        rest = others;
    }
    Ok(Tensor::f_cat(&parts, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_serde_agree_and_unknown_names_are_none() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::from_name(protocol.name()), Some(protocol));
            assert_eq!(
                serde_json::to_value(protocol).unwrap(),
                protocol.to_string()
            );
        }
        assert_eq!(Protocol::from_name("ffhq"), None);
    }
}
