//! Squares out of images of any shape.

use crate::image_file::Rgb;
use crate::resize::{Filter, resize_short_side};
use anyhow::Result;

/// The middle of an image as a square of `side` pixels: the short side is resized (Pillow's
/// bicubic), and of the long side the middle is kept.
///
/// # Errors
/// An image without pixels, or a side of 0.
pub fn square(image: &Rgb, side: usize) -> Result<Rgb> {
    let resized = resize_short_side(image, side, Filter::Bicubic)?;
    let (left, top) = ((resized.width - side) / 2, (resized.height - side) / 2);
    let mut pixels = Vec::with_capacity(side * side * 3);
    for row in resized
        .pixels
        .chunks_exact(resized.width * 3)
        .skip(top)
        .take(side)
    {
        pixels.extend_from_slice(&row[left * 3..(left + side) * 3]);
    }
    Ok(Rgb {
        width: side,
        height: side,
        pixels,
    })
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
        let cut = square(&wide, 4).unwrap();
        let expected: Vec<u8> = (1..5u8).flat_map(|x| [x; 3]).collect();
        assert_eq!((cut.width, cut.height), (4, 4));
        assert_eq!(cut.pixels, expected.repeat(4));
        let tall = Rgb {
            width: 4,
            height: 7,
            pixels: (0..7u8).flat_map(|y| [y; 12]).collect(),
        };
        let cut = square(&tall, 4).unwrap();
        assert_eq!(
            cut.pixels,
            (1..5u8).flat_map(|y| [y; 12]).collect::<Vec<_>>()
        );
        let large = square(&wide, 2).unwrap();
        assert_eq!(large.pixels.len(), 12);
    }
}
