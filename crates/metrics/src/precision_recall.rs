//! Improved precision and recall (Kynkäänniemi et al. 2019): the fractions of one set that lie
//! inside the other's k-nearest-neighbour balls.

use anyhow::{Result, ensure};
use tch::{Kind, Tensor};

/// Neighbours that span a ball (the paper's choice).
pub const NEIGHBOURS: i64 = 3;

/// Precision and recall, both in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRecall {
    /// Fraction of generated images inside the manifold of the real ones: realism.
    pub precision: f64,
    /// Fraction of real images inside the manifold of the generated ones: coverage.
    pub recall: f64,
}

/// Fraction of `points` `[n, d]` that lie in the ball of at least one row of `set` `[m, d]`, whose
/// radius is the distance to its k-th neighbour in the set.
fn fraction_inside(points: &Tensor, set: &Tensor, k: i64) -> f64 {
    // The nearest point of the set to each of its points is the point itself.
    let (radius, _) = Tensor::cdist(set, set, 2.0, None::<i64>).kthvalue(k + 1, 1, false);
    let distances = Tensor::cdist(points, set, 2.0, None::<i64>);
    let covered = distances.le_tensor(&radius.unsqueeze(0)).any_dim(1, false);
    covered
        .to_kind(Kind::Double)
        .mean(Kind::Double)
        .double_value(&[])
}

/// Precision and recall from features of generated and real images, `[n, d]` and `[m, d]`, with `k`
/// neighbours.
///
/// # Errors
/// `k` is below 1, a set has no more than `k` images, or the features have different dimensions.
pub fn precision_recall(generated: &Tensor, real: &Tensor, k: i64) -> Result<PrecisionRecall> {
    let ((n, d), (m, other)) = (generated.size2()?, real.size2()?);
    ensure!(
        d == other,
        "features of {d} and {other} dimensions do not compare"
    );
    ensure!(
        k >= 1 && n > k && m > k,
        "{k} neighbours need more than {k} pictures per side, there are {n} and {m}"
    );
    let (generated, real) = (generated.to_kind(Kind::Double), real.to_kind(Kind::Double));
    Ok(PrecisionRecall {
        precision: fraction_inside(&generated, &real, k),
        recall: fraction_inside(&real, &generated, k),
    })
}
