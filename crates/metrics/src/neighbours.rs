//! Nearest neighbours of images, as points of their features or their pixels.

use anyhow::Result;
use tch::{Kind, Tensor};

/// The nearest point of a set to each of some points, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// Row of the nearest point in the set.
    pub indices: Vec<usize>,
    /// Euclidean distance to it.
    pub distances: Vec<f64>,
}

/// Euclidean distances `[n, m]` in float64 of points `[n, d]` and `[m, d]`.
fn distances(points: &Tensor, set: &Tensor) -> Result<Tensor> {
    let (points, set) = (points.to_kind(Kind::Double), set.to_kind(Kind::Double));
    Ok(Tensor::f_cdist(&points, &set, 2.0, None::<i64>)?)
}

/// For each of `points` `[n, d]` the nearest of `set` `[m, d]`.
///
/// # Errors
/// The points have different dimensions, or the set has none.
pub fn nearest(points: &Tensor, set: &Tensor) -> Result<Nearest> {
    let (distances, indices) = distances(points, set)?.f_min_dim(1, false)?;
    let indices = Vec::<i64>::try_from(indices)?;
    Ok(Nearest {
        indices: indices.into_iter().map(|i| i as usize).collect(),
        distances: Vec::try_from(distances)?,
    })
}

/// How far each of the first `count` points of a set `[m, d]`, or of all where there are fewer, is
/// from the nearest other one.
///
/// # Errors
/// The set has fewer than two points.
pub fn nearest_others(set: &Tensor, count: usize) -> Result<Vec<f64>> {
    let some = set.narrow(0, 0, set.size()[0].min(count as i64));
    // The nearest point of the set to each of its points is the point itself.
    let (second, _) = distances(&some, set)?.f_kthvalue(2, 1, false)?;
    Ok(Vec::try_from(second)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_and_a_point_is_not_its_own_neighbour() {
        let points = Tensor::from_slice(&[0.9_f64, 7.5]).unsqueeze(1);
        let set = Tensor::from_slice(&[0.0_f64, 1.0, 3.0, 7.0]).unsqueeze(1);
        let found = nearest(&points, &set).unwrap();
        assert_eq!(found.indices, [1, 3]);
        assert!((found.distances[0] - 0.1).abs() < 1e-6);
        assert_eq!(nearest_others(&set, 9).unwrap(), [1.0, 1.0, 2.0, 4.0]);
        assert_eq!(nearest_others(&set, 3).unwrap(), [1.0, 1.0, 2.0]);
        assert!(nearest_others(&set.narrow(0, 0, 1), 3).is_err());
    }
}
