//! How the GANs' outputs become 8-bit pixels.

use tch::{Kind, Tensor};

/// Largest 8-bit value.
const LEVELS: f64 = 255.0;

/// Outputs of CUT or CycleGAN, `[n, 3, h, w]` in [-1, 1], as whole numbers in 0..=255 in float32:
/// clamped, scaled, truncated (`tensor2im` of both repositories).
pub fn truncated_pixels(y: &Tensor) -> Tensor {
    let y = y.to_kind(Kind::Float).clamp(-1.0, 1.0);
    ((y + 1.0) / 2.0 * LEVELS).floor()
}

/// Outputs of StarGAN v2, `[n, 3, h, w]` around [-1, 1], as whole numbers in 0..=255 in float32:
/// scaled, clamped, rounded (torchvision's `save_image`).
pub fn rounded_pixels(y: &Tensor) -> Tensor {
    let image = ((y.to_kind(Kind::Float) + 1.0) / 2.0).clamp(0.0, 1.0);
    (image * LEVELS + 0.5).floor()
}

/// Whole numbers in 0..=255 as an image in [0, 1] that is stored as just these numbers.
pub fn image_from_pixels(pixels: &Tensor) -> Tensor {
    pixels / LEVELS
}
