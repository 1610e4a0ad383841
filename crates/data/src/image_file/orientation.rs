//! Images turned as a camera was held.

use super::Rgb;
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// The image mirrored and turned as an orientation demands.
pub(crate) fn turned(image: Rgb, orientation: Orientation) -> Rgb {
    if orientation == Orientation::NoTransforms {
        return image;
    }
    let (width, height) = (image.width as u32, image.height as u32);
    let pixels = RgbImage::from_raw(width, height, image.pixels);
    let mut pixels = DynamicImage::ImageRgb8(pixels.expect("an image has 3 bytes per pixel"));
    pixels.apply_orientation(orientation);
    let pixels = pixels.into_rgb8();
    Rgb {
        width: pixels.width() as usize,
        height: pixels.height() as usize,
        pixels: pixels.into_raw(),
    }
}
