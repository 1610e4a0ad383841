//! Resizing 8-bit RGB pictures as Pillow does, to the last bit: fixed-point weights of 22 bits, horizontal pass first,
//! 8-bit pixels in between. (Resizing crates follow Pillow-SIMD's 16-bit weights, which round differently.)

use crate::image_file::Rgb;
use anyhow::{Result, ensure};

/// Resampling filters by Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Keys' cubic with a = -0.5, support 2.
    Bicubic,
}

const PRECISION_BITS: u32 = 32 - 8 - 2;

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

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

/// Weights of one output position: first input position and fixed-point weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn taps(input: usize, output: usize, filter: Filter) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    // The kernel widens when shrinking, which is what keeps the result free of aliasing.
    let widened = scale.max(1.0);
    let support = filter.support() * widened;
    let one = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(input);
        let raw: Vec<f64> = (first..end)
            .map(|i| filter.at((i as f64 - centre + 0.5) / widened))
            .collect();
        let sum: f64 = raw.iter().sum();
        let fixed =
            |w: &f64| (w / sum * f64::from(1u32 << PRECISION_BITS) + 0.5f64.copysign(*w)) as i32;
        Taps {
            first,
            weights: raw.iter().map(fixed).collect(),
        }
    };
    (0..output).map(one).collect()
}

/// One weighted sum over `pixels[start + k * stride]`.
fn sum(pixels: &[u8], start: usize, stride: usize, weights: &[i32]) -> u8 {
    let begin = 1i32 << (PRECISION_BITS - 1);
    let total = weights.iter().enumerate().fold(begin, |s, (k, w)| {
        s + i32::from(pixels[start + k * stride]) * w
    });
    (total >> PRECISION_BITS).clamp(0, 255) as u8
}

fn horizontal(picture: &Rgb, width: usize, filter: Filter) -> Rgb {
    let taps = taps(picture.width, width, filter);
    let mut pixels = Vec::with_capacity(width * picture.height * 3);
    for row in picture.pixels.chunks_exact(picture.width * 3) {
        for t in &taps {
            pixels.extend((0..3).map(|c| sum(row, t.first * 3 + c, 3, &t.weights)));
        }
    }
    Rgb {
        width,
        height: picture.height,
        pixels,
    }
}

fn vertical(picture: &Rgb, height: usize, filter: Filter) -> Rgb {
    let line = picture.width * 3;
    let mut pixels = Vec::with_capacity(line * height);
    for t in taps(picture.height, height, filter) {
        pixels
            .extend((0..line).map(|x| sum(&picture.pixels, t.first * line + x, line, &t.weights)));
    }
    Rgb {
        width: picture.width,
        height,
        pixels,
    }
}

/// Pillow's `Image.resize((width, height), filter)`.
pub fn resize(picture: &Rgb, width: usize, height: usize, filter: Filter) -> Result<Rgb> {
    ensure!(
        width > 0 && height > 0,
        "cannot resize to {width} x {height}"
    );
    let wide = if width == picture.width {
        picture.clone()
    } else {
        horizontal(picture, width, filter)
    };
    Ok(if height == wide.height {
        wide
    } else {
        vertical(&wide, height, filter)
    })
}

/// torchvision's `Resize(side)`: the short side becomes `side`, the long one keeps the ratio, rounded down.
pub fn resize_short_side(picture: &Rgb, side: usize, filter: Filter) -> Result<Rgb> {
    let (w, h) = (picture.width, picture.height);
    if w <= h {
        resize(picture, side, side * h / w, filter)
    } else {
        resize(picture, side * w / h, side, filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_short_side() {
        let picture = Rgb {
            width: 30,
            height: 20,
            pixels: vec![7; 30 * 20 * 3],
        };
        let out = resize_short_side(&picture, 9, Filter::Bicubic).unwrap();
        assert_eq!((out.width, out.height), (13, 9));
        assert!(
            out.pixels.iter().all(|p| *p == 7),
            "a flat picture stays flat"
        );
        assert!(resize(&picture, 0, 5, Filter::Bilinear).is_err());
    }

    #[test]
    fn halving_two_levels_lies_between_them() {
        let pixels: Vec<u8> = (0..8)
            .flat_map(|x| [if x < 4 { 0 } else { 200 }; 3])
            .collect();
        let out = resize(
            &Rgb {
                width: 8,
                height: 1,
                pixels,
            },
            4,
            1,
            Filter::Bilinear,
        )
        .unwrap();
        let row: Vec<u8> = out.pixels.chunks(3).map(|p| p[0]).collect();
        // Triangle of support 2: weights 1/8 3/8 3/8 1/8 around each centre, cut at the borders.
        assert_eq!(row, [0, 25, 175, 200]);
    }
}
