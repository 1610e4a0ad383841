//! The two masks that StarGAN v2 makes of a face's landmark maps.

use super::wing_fan::LANDMARKS;
use tch::Tensor;

/// Where a source's high frequencies are kept, `[n, 1, h, w]` in [0, 1] each.
#[derive(Debug)]
pub struct Masks {
    /// All landmarks: at 32 px.
    pub face: Tensor,
    /// Without chin, eyebrows and mouth: at 64 and 128 px.
    pub inner: Tensor,
}

/// Side of the masks in pixels.
const SIDE: i64 = 256;

/// Values of a heat map below this are noise.
const THRESHOLD: f64 = 0.1;

/// Keeps a map's division by its range from being one by 0.
const EPS: f64 = 1e-6;

/// Landmarks of one part of the face, which are moved and narrowed.
struct Part {
    first: i64,
    end: i64,
    /// Pixels by which the maps move up; negative ones move down.
    up: i64,
    /// A higher power makes narrower maps.
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

/// Ranges of landmarks that take no part: the face's sides, the ends of eyebrows and lips.
const LEFT_OUT: [(i64, i64); 6] = [(0, 8), (25, 33), (33, 34), (46, 47), (76, 77), (82, 83)];

/// The nose without its first landmark moves up by 4 pixels.
const NOSE: Part = Part::new(52, 55, 4, 1);

/// First landmark of the eyes and the one behind their last.
const EYES: (i64, i64) = (60, 76);

/// What the inner mask lacks: chin, eyebrows, mouth.
const OUTER: [(i64, i64); 3] = [(8, 25), (33, 51), (76, 96)];

/// Rows moved up by `up` pixels, those that leave coming in again at the other end.
fn shift(maps: &Tensor, up: i64) -> Tensor {
    maps.roll([-up], [2])
}

/// Puts `new` in the place of the maps from `first` on.
fn replace(maps: &Tensor, first: i64, new: &Tensor) {
    maps.narrow(1, first, new.size()[1]).copy_(new);
}

fn clear(maps: &Tensor, ranges: &[(i64, i64)]) {
    for (first, end) in ranges {
        let _ = maps.narrow(1, *first, end - first).zero_();
    }
}

/// Each map without its small values, scaled to [0, 1] by its own smallest and largest value.
fn scaled(maps: &Tensor) -> Tensor {
    let kept = maps.masked_fill(&maps.lt(THRESHOLD), 0.0);
    let (least, most) = (
        kept.amin([2i64, 3].as_slice(), true),
        kept.amax([2i64, 3].as_slice(), true),
    );
    (&kept - &least) / (most - &least + EPS)
}

fn sum_clamped(maps: &Tensor) -> Tensor {
    let sum = maps.sum_dim_intlist(1, true, None::<tch::Kind>);
    sum.clamp(0.0, 1.0)
}

impl Masks {
    /// From heat maps `[n, 98, h, w]`: enlarged to 256 px (bilinear, corners aligned), parts of the
    /// face moved and narrowed, summed.
    ///
    /// # Panics
    /// There are not 98 maps.
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
            let lids = shift(&eyes, -8).pow_tensor_scalar(3) + shift(&eyes, -24);
            replace(&maps, EYES.0, &lids);
            let face = sum_clamped(&maps);
            clear(&maps, &OUTER);
            Self {
                face,
                inner: sum_clamped(&maps),
            }
        })
    }
}
