//! Improved precision and recall (Kynkäänniemi et al. 2019): shares of one set inside the other's k-nearest-neighbour balls.

use anyhow::{Result, ensure};
use tch::{Kind, Tensor};

/// Neighbours (the paper's choice).
pub const NEIGHBOURS: i64 = 3;

/// Both in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRecall {
    /// Share of made pictures inside the manifold of the real ones: realism.
    pub precision: f64,
    /// Share of real pictures inside the manifold of the made ones: coverage.
    pub recall: f64,
}

/// Share of `points` `[n, d]` that lie in the ball of at least one of `of` `[m, d]`, whose radius reaches its k-th neighbour.
fn inside(points: &Tensor, of: &Tensor, k: i64) -> f64 {
    let distances = |a: &Tensor, b: &Tensor| Tensor::cdist(a, b, 2.0, None::<i64>);
    // The nearest of a set's own points is the point itself.
    let (radius, _) = distances(of, of).kthvalue(k + 1, 1, false);
    let covered = distances(points, of)
        .le_tensor(&radius.unsqueeze(0))
        .any_dim(1, false);
    covered
        .to_kind(Kind::Double)
        .mean(Kind::Double)
        .double_value(&[])
}

/// Of features of made and real pictures, `[n, d]` and `[m, d]`, with `k` neighbours.
pub fn precision_recall(made: &Tensor, real: &Tensor, k: i64) -> Result<PrecisionRecall> {
    let ((n, d), (m, other)) = (made.size2()?, real.size2()?);
    ensure!(
        d == other,
        "features of {d} and {other} dimensions do not compare"
    );
    ensure!(
        k >= 1 && n > k && m > k,
        "{k} neighbours need more than {k} pictures a side, there are {n} and {m}"
    );
    let (made, real) = (made.to_kind(Kind::Double), real.to_kind(Kind::Double));
    Ok(PrecisionRecall {
        precision: inside(&made, &real, k),
        recall: inside(&real, &made, k),
    })
}
