//! Squares out of images of any shape.

use crate::image_file::Rgb;
use crate::resize::{Filter, resize_short_side};
use anyhow::{Result, ensure};

/// An image that is this many times as long as wide is cut before it is resized: a line of pixels
/// would become an image that no memory holds.
const LONG: usize = 16;

/// The middle `width x height` pixels of an image that is at least as large.
fn middle(image: &Rgb, width: usize, height: usize) -> Rgb {
    let (left, top) = ((image.width - width) / 2, (image.height - height) / 2);
    let mut pixels = Vec::with_capacity(width * height * 3);
    let rows = image.pixels.chunks_exact(image.width * 3);
    for row in rows.skip(top).take(height) {
        pixels.extend_from_slice(&row[left * 3..(left + width) * 3]);
    }
    Rgb {
        width,
        height,
        pixels,
    }
}

/// The middle of an image as a square of `side` pixels: the short side is resized as by Pillow with
/// `filter`, and of the long side the middle is kept.
///
/// # Errors
/// An image without pixels, or a side of 0.
pub fn square(image: &Rgb, side: usize, filter: Filter) -> Result<Rgb> {
    ensure!(
        image.width > 0 && image.height > 0,
        "an image without pixels"
    );
    let most = LONG * image.width.min(image.height);
    let cut = middle(image, image.width.min(most), image.height.min(most));
    let resized = resize_short_side(&cut, side, filter)?;
    Ok(middle(&resized, side, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_long_side_is_kept() {
        // Columns of 0, 1, 2, ... in an image as high as the square: nothing is resized.
        let row: Vec<u8> = (0..7u8).flat_map(|x| [x; 3]).collect();
        let wide = Rgb {
            width: 7,
            height: 4,
            pixels: row.repeat(4),
        };
        let cut = square(&wide, 4, Filter::Bicubic).unwrap();
        let expected: Vec<u8> = (1..5u8).flat_map(|x| [x; 3]).collect();
        assert_eq!((cut.width, cut.height), (4, 4));
        assert_eq!(cut.pixels, expected.repeat(4));
        let tall = Rgb {
            width: 4,
            height: 7,
            pixels: (0..7u8).flat_map(|y| [y; 12]).collect(),
        };
        let cut = square(&tall, 4, Filter::Bicubic).unwrap();
        assert_eq!(
            cut.pixels,
            (1..5u8).flat_map(|y| [y; 12]).collect::<Vec<_>>()
        );
        let large = square(&wide, 2, Filter::Bicubic).unwrap();
        assert_eq!(large.pixels.len(), 12);
    }
    #[test]
    fn a_line_of_pixels_takes_no_more_memory_than_it_is_worth() {
        let line = Rgb {
            width: 1_000_000,
            height: 1,
            pixels: vec![9; 3_000_000],
        };
        let cut = square(&line, 256, Filter::Bicubic).unwrap();
        assert_eq!(cut.pixels, vec![9; 256 * 256 * 3]);
    }
}
