//! Random changes to a batch of training images, drawn from libtorch's generator.

use crate::recipe::Augment;
use tch::{Kind, Tensor};

/// CIFAR-10's mean over all pixels and channels; cut-out squares are filled with it.
const CUTOUT_FILL: f64 = 0.473;

/// Changes images `x` `[n, 3, s, s]` in [0, 1]; the shape stays.
pub(crate) fn augment(x: &Tensor, augment: Augment) -> Tensor {
    let mut x = x.shallow_clone();
    if augment.flip {
        let flipped = Tensor::rand([x.size()[0], 1, 1, 1], (Kind::Float, x.device())).lt(0.5);
        x = x.flip([3]).where_self(&flipped, &x);
    }
    if augment.crop > 0 {
        x = shift(&x, augment.crop);
    }
    if augment.cutout > 0 {
        x = cutout(&x, augment.cutout);
    }
    x
}

/// `0..size` as a row, `[1, size]`.
fn positions(x: &Tensor, size: i64) -> Tensor {
    Tensor::arange(size, (Kind::Int64, x.device())).unsqueeze(0)
}

/// One random offset in `0..end` per image, `[n, 1]`.
fn random_offsets(x: &Tensor, end: i64) -> Tensor {
    Tensor::randint(end, [x.size()[0], 1], (Kind::Int64, x.device()))
}

/// Shifts each image by up to `max` pixels along each axis, borders mirrored.
fn shift(x: &Tensor, max: i64) -> Tensor {
    let (n, c, h, w) = x.size4().expect("images have four dimensions");
    let padded = x.reflection_pad2d([max; 4]);
    let rows = positions(x, h) + random_offsets(x, 2 * max + 1);
    let rows = rows
        .reshape([n, 1, h, 1])
        .expand([n, c, h, w + 2 * max], false);
    let columns = positions(x, w) + random_offsets(x, 2 * max + 1);
    let columns = columns.reshape([n, 1, 1, w]).expand([n, c, h, w], false);
    padded.gather(2, &rows, false).gather(3, &columns, false)
}

/// Per image, which of `0..size` lie in a range of `side` positions around a random one: `[n,
/// size]`.
fn random_range(x: &Tensor, size: i64, side: i64) -> Tensor {
    let offsets = positions(x, size) - random_offsets(x, size) + side / 2;
    offsets.ge(0).logical_and(&offsets.lt(side))
}

/// Fills a square of `side` pixels around a random position of each image, cut at the borders.
fn cutout(x: &Tensor, side: i64) -> Tensor {
    let (n, _, h, w) = x.size4().expect("images have four dimensions");
    let rows = random_range(x, h, side).reshape([n, 1, h, 1]);
    let square = rows.logical_and(&random_range(x, w, side).reshape([n, 1, 1, w]));
    x.masked_fill(&square, CUTOUT_FILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_stay_and_only_a_square_is_cut() {
        tch::manual_seed(3);
        let x = Tensor::ones([16, 3, 8, 8], (Kind::Float, tch::Device::Cpu));
        let shifted = augment(
            &x,
            Augment {
                flip: true,
                crop: 2,
                cutout: 0,
            },
        );
        assert!(
            shifted.equal(&x),
            "shifting ones with mirrored borders leaves ones"
        );
        let cut = augment(
            &x,
            Augment {
                flip: false,
                crop: 0,
                cutout: 4,
            },
        );
        let cut = cut.lt(0.5).to_kind(Kind::Float);
        let sizes = cut.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float);
        let (smallest, largest) = (sizes.min().double_value(&[]), sizes.max().double_value(&[]));
        assert!(largest <= 48.0 && smallest >= 12.0, "{sizes}");
    }
}
