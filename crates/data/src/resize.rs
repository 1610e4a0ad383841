//! Resizing of 8-bit RGB images as Pillow 13 does it, to the last bit: fixed-point weights of 22
//! bits, two passes with 8-bit pixels in between. (Resizing crates follow Pillow-SIMD's 16-bit
//! weights, which round differently.)

use crate::image_file::{MAX_PIXELS, Rgb};
use anyhow::{Result, ensure};

/// Resampling filters by Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Keys' cubic with a = -0.5, support 2.
    Bicubic,
}

/// Pillow's `PRECISION_BITS`: fractional bits of a weight.
const PRECISION_BITS: u32 = 32 - 8 - 2;

impl Filter {
    /// Half its width, in pixels.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// Its value at a distance of `x` pixels from the centre.
    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

/// The weights of one output position.
struct Taps {
    /// First input position.
    first: usize,
    /// Fixed-point weights from there on.
    weights: Vec<i32>,
}

/// How an axis of `input` pixels becomes one of `output` pixels.
struct Axis {
    input: usize,
    output: usize,
    filter: Filter,
}

impl Axis {
    /// The weights of one output position.
    fn taps_at(&self, position: usize) -> Taps {
        let scale = self.input as f64 / self.output as f64;
        // The kernel widens when shrinking, which keeps the result free of aliasing.
        let widened = scale.max(1.0);
        let support = self.filter.support() * widened;
        let centre = (position as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(self.input);
        let values: Vec<f64> = (first..end)
            .map(|i| self.filter.at((i as f64 - centre + 0.5) / widened))
            .collect();
        let sum: f64 = values.iter().sum();
        Taps {
            first,
            weights: values
                .iter()
                .map(|value| fixed_point(value / sum))
                .collect(),
        }
    }

    /// The weights of all output positions.
    fn taps(&self) -> Vec<Taps> {
        (0..self.output)
            .map(|position| self.taps_at(position))
            .collect()
    }
}

/// A weight in fixed point, rounded half away from zero.
fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1u32 << PRECISION_BITS) + 0.5f64.copysign(weight)) as i32
}

/// The weighted sum over `pixels[start + k * stride]`.
fn weighted_sum(pixels: &[u8], start: usize, stride: usize, weights: &[i32]) -> u8 {
    let mut sum = 1i32 << (PRECISION_BITS - 1);
    for (k, weight) in weights.iter().enumerate() {
        sum += i32::from(pixels[start + k * stride]) * weight;
    }
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

fn resize_width(image: &Rgb, width: usize, filter: Filter) -> Rgb {
    if width == image.width {
        return image.clone();
    }
    let taps = Axis {
        input: image.width,
        output: width,
        filter,
    }
    .taps();
    let mut pixels = Vec::with_capacity(width * image.height * 3);
    for row in image.pixels.chunks_exact(image.width * 3) {
        for tap in &taps {
            pixels.extend((0..3).map(|c| weighted_sum(row, tap.first * 3 + c, 3, &tap.weights)));
        }
    }
    Rgb {
        width,
        height: image.height,
        pixels,
    }
}

fn resize_height(image: &Rgb, height: usize, filter: Filter) -> Rgb {
    if height == image.height {
        return image.clone();
    }
    let row = image.width * 3;
    let mut pixels = Vec::with_capacity(row * height);
    for tap in (Axis {
        input: image.height,
        output: height,
        filter,
    })
    .taps()
    {
        let start = tap.first * row;
        pixels.extend((0..row).map(|x| weighted_sum(&image.pixels, start + x, row, &tap.weights)));
    }
    Rgb {
        width: image.width,
        height,
        pixels,
    }
}

/// Pillow's `Image.resize((width, height), filter)`.
///
/// # Errors
/// A side of 0, or more pixels than [`MAX_PIXELS`].
pub fn resize(image: &Rgb, width: usize, height: usize, filter: Filter) -> Result<Rgb> {
    ensure!(
        width > 0 && height > 0,
        "cannot resize to {width} x {height}"
    );
    // Width and height change in turn, and the image between them is held in memory too.
    let height_first = is_height_first(image, width, height);
    let between = if height_first {
        image.width.saturating_mul(height)
    } else {
        width.saturating_mul(image.height)
    };
    ensure!(
        between.max(width.saturating_mul(height)) <= MAX_PIXELS,
        "{} x {} pixels become {width} x {height}, more than the {MAX_PIXELS} that are read",
        image.width,
        image.height
    );
    Ok(if height_first {
        resize_width(&resize_height(image, height, filter), width, filter)
    } else {
        resize_height(&resize_width(image, width, filter), height, filter)
    })
}

/// Whether Pillow changes the height first: since its version 13 it does where the height loses
/// more than twice as many pixels as the width. Earlier versions begin with the width.
fn is_height_first(image: &Rgb, width: usize, height: usize) -> bool {
    let (lost_rows, lost_columns) = (
        image.height.saturating_sub(height),
        image.width.saturating_sub(width),
    );
    lost_rows > 2 * lost_columns
}

/// torchvision's `Resize(side)`: the short side becomes `side`, the long one keeps the ratio,
/// rounded down.
///
/// # Errors
/// As [`resize`]: a `side` of 0, or an image so long that too many pixels come out.
pub fn resize_short_side(image: &Rgb, side: usize, filter: Filter) -> Result<Rgb> {
    let (width, height) = (image.width, image.height);
    if width <= height {
        resize(image, side, side * height / width, filter)
    } else {
        resize(image, side * width / height, side, filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_height_comes_first_where_it_loses_more_than_twice_as_many_pixels() {
        let image = Rgb {
            width: 45,
            height: 60,
            pixels: vec![0; 45 * 60 * 3],
        };
        for (width, height, want) in [
            (32, 32, true),
            (31, 32, false),
            (45, 59, true),
            (50, 59, true),
            (32, 60, false),
            (50, 70, false),
        ] {
            let first = is_height_first(&image, width, height);
            assert_eq!(first, want, "{width} x {height}");
        }
    }

    #[test]
    fn sizes_follow_the_short_side() {
        let image = Rgb {
            width: 30,
            height: 20,
            pixels: vec![7; 30 * 20 * 3],
        };
        let out = resize_short_side(&image, 9, Filter::Bicubic).unwrap();
        assert_eq!((out.width, out.height), (13, 9));
        assert!(
            out.pixels.iter().all(|p| *p == 7),
            "a flat image stays flat"
        );
        assert!(resize(&image, 0, 5, Filter::Bilinear).is_err());
        let line = Rgb {
            width: 1,
            height: 1 << 20,
            pixels: vec![7; 3 << 20],
        };
        let error = resize_short_side(&line, 256, Filter::Bicubic).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("1 x 1048576 pixels become 256 x"),
            "{error}"
        );
    }

    #[test]
    fn halving_two_levels_lies_between_them() {
        let pixels: Vec<u8> = (0..8)
            .flat_map(|x| [if x < 4 { 0 } else { 200 }; 3])
            .collect();
        let image = Rgb {
            width: 8,
            height: 1,
            pixels,
        };
        let out = resize(&image, 4, 1, Filter::Bilinear).unwrap();
        let row: Vec<u8> = out.pixels.chunks(3).map(|p| p[0]).collect();
        // A triangle of support 2 has the weights 1/8 3/8 3/8 1/8 around each centre, cut at the
        // borders.
        assert_eq!(row, [0, 25, 175, 200]);
    }
}
