//! The two masks that StarGAN v2 derives from facial landmark heat maps (`preprocess` of its
//! `core/wing.py`).

use super::wing_fan::LANDMARKS;
use tch::Tensor;

/// Weights by which the generator multiplies the source's feature maps before it adds their high
/// frequencies to the translation's, `[n, 1, h, w]` in [0, 1] each.
#[derive(Debug)]
pub struct Masks {
    /// The mask of the whole face, for feature maps of 32 px.
    pub face: Tensor,
    /// The mask without chin, eyebrows and mouth, for feature maps of 64 and 128 px.
    pub inner: Tensor,
}

/// Side of the masks in pixels.
const SIDE: i64 = 256;

/// Values of a heat map below this count as noise and become 0.
const THRESHOLD: f64 = 0.1;

/// Added to the range of a map's values, so that a constant map is not divided by 0.
const EPS: f64 = 1e-6;

/// A part of the face: a range of landmarks whose heat maps are shifted and sharpened alike.
struct Part {
    /// First landmark of the part.
    first: i64,
    /// The landmark after the part's last.
    end: i64,
    /// Pixels by which the maps move up; a negative number moves them down.
    up: i64,
    /// Exponent of the maps' values: a higher one makes narrower peaks.
    power: i64,
}

impl Part {
    const fn new(first: i64, end: i64, up: i64, power: i64) -> Self {
        Self {
            first,
            end,
            up,
            power,
        }
    }
}

/// Chin, eyebrows, nostrils, upper lip, lower lip, inner lips.
const PARTS: [Part; 6] = [
    Part::new(8, 25, 0, 3),
    Part::new(33, 51, -7, 2),
    Part::new(55, 60, 8, 4),
    Part::new(77, 82, -8, 4),
    Part::new(83, 88, 8, 4),
    Part::new(88, 96, -2, 3),
];

/// Landmarks whose maps become 0, each range without its end: the face's sides, the ends of
/// eyebrows and lips.
const LEFT_OUT: [(i64, i64); 6] = [(0, 8), (25, 33), (33, 34), (46, 47), (76, 77), (82, 83)];

/// The nose without its first landmark moves up by 4 pixels.
const NOSE: Part = Part::new(52, 55, 4, 1);

/// First landmark of the eyes, and the one after their last.
const EYES: (i64, i64) = (60, 76);

/// Landmarks that the inner mask leaves out, each range without its end: chin, eyebrows, mouth.
const OUTER: [(i64, i64); 3] = [(8, 25), (33, 51), (76, 96)];

/// The maps moved up by `up` pixels; rows that leave at one border enter at the opposite one.
fn shift(maps: &Tensor, up: i64) -> Tensor {
    maps.roll([-up], [2])
}

/// Overwrites the maps from landmark `first` on with `new`.
fn replace(maps: &Tensor, first: i64, new: &Tensor) {
    maps.narrow(1, first, new.size()[1]).copy_(new);
}

/// Sets the maps of these landmarks to 0; each range lacks its end.
fn clear(maps: &Tensor, ranges: &[(i64, i64)]) {
    for (first, end) in ranges {
        let _ = maps.narrow(1, *first, end - first).zero_();
    }
}

/// Each map with values below [`THRESHOLD`] set to 0, scaled to [0, 1] by its own minimum and
/// maximum.
fn scaled(maps: &Tensor) -> Tensor {
    let kept = maps.masked_fill(&maps.lt(THRESHOLD), 0.0);
    let (minimum, maximum) = (
        kept.amin([2i64, 3].as_slice(), true),
        kept.amax([2i64, 3].as_slice(), true),
    );
    (&kept - &minimum) / (maximum - &minimum + EPS)
}

/// The sum over landmarks, clamped to [0, 1]: `[n, 1, h, w]`.
fn sum_clamped(maps: &Tensor) -> Tensor {
    let sum = maps.sum_dim_intlist(1, true, None::<tch::Kind>);
    sum.clamp(0.0, 1.0)
}

impl Masks {
    /// Derives the masks from heat maps `[n, 98, h, w]`, which are upsampled to 256 px (bilinear,
    /// corners aligned), shifted and sharpened by part of the face, and summed.
    ///
    /// # Panics
    /// The number of maps per image is not 98.
    pub fn from_heatmaps(heatmaps: &Tensor) -> Self {
        assert_eq!(heatmaps.size()[1], LANDMARKS, "one heat map per landmark");
        tch::no_grad(|| {
            let maps = heatmaps.upsample_bilinear2d([SIDE, SIDE], true, None, None);
            let maps = scaled(&maps);
            for part in PARTS.iter().chain([&NOSE]) {
                let moved = shift(&maps.narrow(1, part.first, part.end - part.first), part.up);
                replace(&maps, part.first, &moved.pow_tensor_scalar(part.power));
            }
            clear(&maps, &LEFT_OUT);
            let eyes = maps.narrow(1, EYES.0, EYES.1 - EYES.0);
            // As in the reference code, two copies are added: one 8 pixels lower and sharpened, one
            // 24 pixels lower.
            let lowered = shift(&eyes, -8).pow_tensor_scalar(3) + shift(&eyes, -24);
            replace(&maps, EYES.0, &lowered);
            let face = sum_clamped(&maps);
            clear(&maps, &OUTER);
            Self {
                face,
                inner: sum_clamped(&maps),
            }
        })
    }
}
