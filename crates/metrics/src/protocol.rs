//! How pictures reach the networks and formulas of the published evaluation (the EGSDE authors' `run_score.py`).

use crate::image_file::Rgb;
use crate::pictures::pixels_tensor;
use crate::resize::{Filter, resize, resize_short_side};
use anyhow::Result;
use egsde_models::{Inception, Loaded};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

/// The published evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Raw [0, 1] pixels into FID Inception, which resizes to 299 itself (as plain pytorch-fid does).
    Afhq,
    /// Pillow bilinear to 256 x 256, then 299 x 299, ImageNet normalisation, then the network's own 2x - 1.
    Celebahq,
}

/// Names of the protocols there are.
pub const PROTOCOLS: [&str; 2] = ["afhq", "celebahq"];

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Side of the pictures that L2, PSNR and SSIM are taken of.
pub const PAIR_SIDE: usize = 256;

/// `[1, 3, h, w]` in [0, 1].
pub fn tensor(picture: &Rgb) -> Tensor {
    pixels_tensor(&picture.pixels, 1, picture.height, picture.width)
}

/// The picture as L2, PSNR and SSIM see it: short side to 256 (Pillow bicubic), [0, 1], `[1, 3, h, w]`.
pub fn pair_input(picture: &Rgb) -> Result<Tensor> {
    Ok(tensor(&resize_short_side(
        picture,
        PAIR_SIDE,
        Filter::Bicubic,
    )?))
}

impl Protocol {
    /// The picture as this protocol hands it to FID Inception, `[1, 3, h, w]`.
    pub fn inception_input(self, picture: &Rgb) -> Result<Tensor> {
        if self == Self::Afhq {
            return Ok(tensor(picture));
        }
        let small = resize(picture, 256, 256, Filter::Bilinear)?;
        let x = tensor(&resize(&small, 299, 299, Filter::Bilinear)?);
        let channel = |v: [f32; 3]| Tensor::from_slice(&v).reshape([1, 3, 1, 1]);
        Ok((x - channel(IMAGENET_MEAN)) / channel(IMAGENET_STD))
    }
}

/// pool3 features `[n, 2048]` on the CPU of prepared pictures `[1, 3, h, w]`. Pictures of one size go through
/// together, `batch` at a time; the order is kept.
pub fn inception_features(
    network: &Loaded<Inception>,
    inputs: &[Tensor],
    batch: usize,
    device: Device,
) -> Result<Tensor> {
    let mut parts = Vec::new();
    let mut rest = inputs;
    while let Some(first) = rest.first() {
        let same = rest
            .iter()
            .take(batch.max(1))
            .take_while(|x| x.size() == first.size())
            .count();
        let together = Tensor::f_cat(&rest[..same], 0)?.to_device(device);
        parts.push(tch::no_grad(|| network.features(&together)).to_device(Device::Cpu));
        rest = &rest[same..];
    }
    Ok(Tensor::f_cat(&parts, 0)?)
}
