//! Random changes to a batch of training pictures, drawn from libtorch's generator.

use crate::recipe::Augment;
use tch::{Kind, Tensor};

/// `x` `[n, 3, s, s]` in [0, 1] to the same shape.
pub(crate) fn augment(x: &Tensor, how: Augment) -> Tensor {
    let mut x = x.shallow_clone();
    if how.flip {
        let heads = Tensor::rand([x.size()[0], 1, 1, 1], (Kind::Float, x.device())).lt(0.5);
        x = x.flip([3]).where_self(&heads, &x);
    }
    if how.crop > 0 {
        x = shift(&x, how.crop);
    }
    if how.cutout > 0 {
        x = cutout(&x, how.cutout);
    }
    x
}

/// Offsets in `0..below`, one a picture, as a column.
fn offsets(x: &Tensor, below: i64) -> Tensor {
    Tensor::randint(below, [x.size()[0], 1], (Kind::Int64, x.device()))
}

fn shift(x: &Tensor, by: i64) -> Tensor {
    let (n, c, h, w) = x.size4().expect("pictures have four dimensions");
    let padded = x.reflection_pad2d([by; 4]);
    let steps = |size| Tensor::arange(size, (Kind::Int64, x.device())).unsqueeze(0);
    let rows = (steps(h) + offsets(x, 2 * by + 1))
        .reshape([n, 1, h, 1])
        .expand([n, c, h, w + 2 * by], false);
    let columns = (steps(w) + offsets(x, 2 * by + 1))
        .reshape([n, 1, 1, w])
        .expand([n, c, h, w], false);
    padded.gather(2, &rows, false).gather(3, &columns, false)
}

fn cutout(x: &Tensor, side: i64) -> Tensor {
    let (n, _, h, w) = x.size4().expect("pictures have four dimensions");
    let inside = |size: i64| {
        let at = Tensor::arange(size, (Kind::Int64, x.device())).unsqueeze(0) - offsets(x, size)
            + side / 2;
        at.ge(0).logical_and(&at.lt(side))
    };
    let hole = inside(h)
        .reshape([n, 1, h, 1])
        .logical_and(&inside(w).reshape([n, 1, 1, w]));
    x.masked_fill(&hole, 0.473)
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
        let holes = cut.lt(0.5).to_kind(Kind::Float).sum_dim_intlist(
            [1i64, 2, 3].as_slice(),
            false,
            Kind::Float,
        );
        assert!(
            holes.max().double_value(&[]) <= 48.0 && holes.min().double_value(&[]) >= 12.0,
            "{holes}"
        );
    }
}
