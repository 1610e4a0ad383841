//! Fréchet distance between Gaussian fits of two feature sets: FID's formula (Heusel et al. 2017),
//! whatever the features are.

use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// The Fréchet distance needs a covariance, which a single image does not have.
pub const FEWEST_FOR_FID: usize = 2;

/// Mean and covariance of a feature set, float64.
#[derive(Debug)]
pub struct Statistics {
    /// Mean, `[d]`.
    pub mu: Tensor,
    /// Sample covariance (divided by n - 1), `[d, d]`.
    pub sigma: Tensor,
    /// Number of images; 0 where it is not known.
    pub count: i64,
    /// A factor `h`, `[d, n]`, with `h h^T` the covariance; there where the features are at hand
    /// and at most half as many as their dimensions. It makes distances cheap and exact.
    pub factor: Option<Tensor>,
}

impl Statistics {
    /// The same statistics; the numbers are shared.
    pub fn shallow_clone(&self) -> Self {
        Self {
            mu: self.mu.shallow_clone(),
            sigma: self.sigma.shallow_clone(),
            count: self.count,
            factor: self.factor.as_ref().map(Tensor::shallow_clone),
        }
    }

    /// Statistics of features `[n, d]`, one row per image.
    ///
    /// # Errors
    /// n is less than 2, or the tensor is no matrix.
    pub fn from_features(features: &Tensor) -> Result<Self> {
        let (n, d) = features.size2()?;
        ensure!(
            n as usize >= FEWEST_FOR_FID,
            "a covariance needs at least {FEWEST_FOR_FID} pictures, there are {n}"
        );
        let x = features.to_kind(Kind::Double);
        let mu = x.mean_dim([0i64].as_slice(), false, Kind::Double);
        let centred = x - &mu;
        let sigma = centred.transpose(0, 1).matmul(&centred) / (n - 1) as f64;
        let factor = || centred.transpose(0, 1) / ((n - 1) as f64).sqrt();
        Ok(Self {
            mu,
            sigma,
            count: n,
            factor: (2 * n <= d).then(factor),
        })
    }
}

/// A factor `h` with `h h^T` the covariance: the images' own where they are few, else Cholesky's,
/// which is many times faster than a root but needs full rank; otherwise the symmetric root, with
/// eigenvalues that rounding made negative cut to 0.
fn factor(statistics: &Statistics) -> Tensor {
    if let Some(factor) = &statistics.factor {
        return factor.shallow_clone();
    }
    let symmetric = &statistics.sigma;
    let (lower, info) = symmetric.linalg_cholesky_ex(false, false);
    if info.int64_value(&[]) == 0 {
        return lower;
    }
    let (values, vectors) = symmetric.linalg_eigh("L");
    let roots = values.clamp_min(0.0).sqrt();
    (&vectors * roots.unsqueeze(0)).matmul(&vectors.transpose(0, 1))
}

/// A factor `[d, r]` of the same kind: the images' own where they are few, else one with as many
/// columns as the covariance has eigenvalues that are more than rounding. What rounding leaves in
/// place of zeros is small, but its roots are not.
fn truncated_factor(statistics: &Statistics) -> Tensor {
    if let Some(factor) = &statistics.factor {
        return factor.shallow_clone();
    }
    let symmetric = &statistics.sigma;
    let (values, vectors) = symmetric.linalg_eigh("L");
    let rounding = f64::EPSILON * symmetric.size()[0] as f64 * values.abs().max().double_value(&[]);
    let kept = values.gt(rounding).nonzero().squeeze_dim(1);
    let roots = values.index_select(0, &kept).sqrt();
    vectors.index_select(1, &kept) * roots.unsqueeze(0)
}

/// `tr((a b)^(1/2))` of two covariances as the sum of the singular values
/// of `f^T g` with `a = f f^T` and `b = g g^T`. Unlike roots of eigenvalues it is exact to rounding
/// where a or b lacks rank, but it takes several times as long.
fn exact_root_trace(a: &Statistics, b: &Statistics) -> f64 {
    let inner = truncated_factor(a)
        .transpose(0, 1)
        .matmul(&truncated_factor(b));
    if inner.numel() == 0 {
        return 0.0;
    }
    let (_, singular_values, _) = inner.svd(true, false);
    singular_values.sum(Kind::Double).double_value(&[])
}

/// A distance below this fraction of the traces is computed by [`exact_root_trace`]: roots of
/// eigenvalues leave an error of up to about 1e-5 of the traces, which may even be negative.
const CANCELLATION: f64 = 1e-4;

/// `|mu_a - mu_b|^2 + tr(a) + tr(b) - 2 tr((a b)^(1/2))`, at least 0. The last trace is taken from
/// the eigenvalues of `h^T b h` with `a = h h^T`, which is symmetric and needs no general matrix
/// root; where the distance is small beside the traces, from singular values. With fewer images
/// than dimensions on a side the matrix has that side's number of images, on both sides the exact
/// way is the cheap one.
///
/// # Errors
/// The features have different dimensions.
pub fn frechet_distance(a: &Statistics, b: &Statistics) -> Result<f64> {
    let (reference, other) = match (&a.factor, &b.factor) {
        (None, Some(_)) => (b, a),
        _ => (a, b),
    };
    FrechetReference::new(reference).distance_to(other)
}

/// One side of many distances, with its covariance factored once.
#[derive(Debug)]
pub struct FrechetReference {
    /// Its mean and covariance.
    statistics: Statistics,
    /// Trace of the covariance.
    trace: f64,
    /// Factor of the covariance, `[d, d]` or narrower; see [`factor`].
    factor: Tensor,
}

// SAFETY: nothing changes the tensors, and libtorch allows several threads to read one.
unsafe impl Sync for FrechetReference {}

/// A feature set to draw samples from, with its product with the reference's factor computed once
/// for all draws.
#[derive(Debug)]
pub struct ProjectedFeatures {
    /// `[n, d]`, float64.
    features: Tensor,
    /// The features times the reference's factor, `[n, d]`.
    projected: Tensor,
}

// SAFETY: nothing changes these tensors either.
unsafe impl Sync for ProjectedFeatures {}

/// Rows of a matrix with the number of times that each was drawn.
struct Draw {
    /// The drawn rows, each once, `[m]`.
    indices: Tensor,
    /// How often each was drawn, `[m, 1]`.
    counts: Tensor,
    /// Sum of the counts.
    total: f64,
}

impl Draw {
    fn new(drawn: &[usize]) -> Self {
        let mut counts = BTreeMap::new();
        for index in drawn {
            *counts.entry(*index as i64).or_insert(0.0) += 1.0;
        }
        let (indices, counts): (Vec<i64>, Vec<f64>) = counts.into_iter().unzip();
        Self {
            indices: Tensor::from_slice(&indices),
            counts: Tensor::from_slice(&counts).unsqueeze(1),
            total: drawn.len() as f64,
        }
    }

    /// Mean of the drawn rows, and the rows centred and weighted so that their inner products sum
    /// to the sample covariance.
    fn centre(&self, rows: &Tensor) -> Centred {
        let rows = rows.index_select(0, &self.indices);
        let sum = (&rows * &self.counts).sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
        let mean = sum / self.total;
        let weights = (&self.counts / (self.total - 1.0)).sqrt();
        Centred {
            rows: (rows - &mean) * weights,
            mean,
        }
    }
}

/// See [`Draw::centre`].
struct Centred {
    /// `[m, d]`.
    rows: Tensor,
    /// `[d]`.
    mean: Tensor,
}

impl FrechetReference {
    /// Factors the covariance of one side.
    pub fn new(statistics: &Statistics) -> Self {
        Self {
            statistics: statistics.shallow_clone(),
            trace: statistics.sigma.trace().double_value(&[]),
            factor: factor(statistics),
        }
    }

    /// The distance to the other side; see [`frechet_distance`].
    ///
    /// # Errors
    /// The features have different dimensions.
    pub fn distance_to(&self, other: &Statistics) -> Result<f64> {
        let mu = &self.statistics.mu;
        ensure!(
            mu.size() == other.mu.size(),
            "features of {:?} and {:?} dimensions do not compare",
            mu.size(),
            other.mu.size()
        );
        let trace = other.sigma.trace();
        let traces = self.trace + trace.double_value(&[]);
        if self.statistics.factor.is_none() || other.factor.is_none() {
            let inner = self
                .factor
                .transpose(0, 1)
                .matmul(&other.sigma)
                .matmul(&self.factor);
            let symmetric = (&inner + inner.transpose(0, 1)) / 2.0;
            let distance = self.distance_from_parts(&other.mu, &trace, &symmetric);
            if distance >= CANCELLATION * traces {
                return Ok(distance);
            }
        }
        let means = (mu - &other.mu).square().sum(Kind::Double);
        let cross = exact_root_trace(&self.statistics, other);
        Ok((means.double_value(&[]) + traces - 2.0 * cross).max(0.0))
    }

    /// The formula from the other side's mean and trace, and a matrix with the eigenvalues of
    /// `h^T b h`.
    fn distance_from_parts(&self, mu: &Tensor, trace: &Tensor, inner: &Tensor) -> f64 {
        let cross = inner
            .linalg_eigvalsh("L")
            .clamp_min(0.0)
            .sqrt()
            .sum(Kind::Double);
        let means = (&self.statistics.mu - mu).square().sum(Kind::Double);
        (means + self.trace + trace - cross * 2.0).double_value(&[])
    }

    /// Prepares features `[n, d]` for [`FrechetReference::distance_to_draw`].
    pub fn project(&self, features: &Tensor) -> ProjectedFeatures {
        let features = features.to_kind(Kind::Double);
        ProjectedFeatures {
            projected: features.matmul(&self.factor),
            features,
        }
    }

    /// The distance to the images at the indices `drawn`, which may repeat. It equals
    /// [`FrechetReference::distance_to`] but decomposes no `[d, d]` matrix where there are fewer
    /// images: the eigenvalues of `h^T cov h` are those of the images' own inner products.
    ///
    /// # Errors
    /// `drawn` has fewer than 2 indices.
    pub fn distance_to_draw(&self, features: &ProjectedFeatures, drawn: &[usize]) -> Result<f64> {
        ensure!(
            drawn.len() >= FEWEST_FOR_FID,
            "a covariance needs at least {FEWEST_FOR_FID} pictures, there are {}",
            drawn.len()
        );
        let draw = Draw::new(drawn);
        let Centred { rows, mean } = draw.centre(&features.features);
        let projected = draw.centre(&features.projected).rows;
        let transposed = projected.transpose(0, 1);
        let (images, d) = projected.size2()?;
        let inner = if images < d {
            projected.matmul(&transposed)
        } else {
            transposed.matmul(&projected)
        };
        let trace = rows.square().sum(Kind::Double);
        Ok(self.distance_from_parts(&mean, &trace, &inner).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn diagonal_gaussian(mu: &[f64], variances: &[f64]) -> Statistics {
        let sigma = Tensor::from_slice(variances).diag(0);
        Statistics {
            mu: Tensor::from_slice(mu),
            sigma,
            count: 9,
            factor: None,
        }
    }

    #[test]
    fn diagonal_gaussians_have_a_closed_form() {
        let a = diagonal_gaussian(&[0.0, 1.0], &[1.0, 4.0]);
        let b = diagonal_gaussian(&[3.0, 1.0], &[9.0, 4.0]);
        // 9 from the means, (1 - 3)^2 from the standard deviations.
        assert!((frechet_distance(&a, &b).unwrap() - 13.0).abs() < 1e-9);
    }

    /// Trace of a set's covariance, the scale of its distances.
    fn trace(statistics: &Statistics) -> f64 {
        statistics.sigma.trace().double_value(&[])
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself_whatever_the_order() {
        tch::manual_seed(4);
        let x = Tensor::randn([50, 80], (Kind::Float, Device::Cpu));
        let a = Statistics::from_features(&x).unwrap();
        let b = Statistics::from_features(&x.flip([0])).unwrap();
        assert!(frechet_distance(&a, &b).unwrap().abs() < 1e-4);
        assert!(Statistics::from_features(&x.narrow(0, 0, 1)).is_err());
    }

    #[test]
    fn the_distance_of_a_set_to_itself_is_exact_and_never_negative() {
        tch::manual_seed(6);
        // Far fewer images than dimensions, about as many, many more; and images all alike.
        let mut sets: Vec<Tensor> = [4, 97, 100, 130, 900]
            .map(|n| Tensor::randn([n, 100], (Kind::Float, Device::Cpu)) * 3.0)
            .into();
        sets.push(sets[0].narrow(0, 0, 1).repeat([5, 1]));
        for x in sets {
            let a = Statistics::from_features(&x).unwrap();
            let b = Statistics::from_features(&x.flip([0])).unwrap();
            for other in [&a, &b] {
                let distance = frechet_distance(&a, other).unwrap();
                assert!(distance >= 0.0, "{distance} for {:?}", x.size());
                assert!(
                    distance <= 1e-9 * trace(&a) + 1e-12,
                    "{distance} for {:?}",
                    x.size()
                );
            }
        }
    }

    #[test]
    fn a_distance_that_is_small_beside_the_traces_is_exact() {
        tch::manual_seed(7);
        let x = Tensor::randn([6, 120], (Kind::Double, Device::Cpu));
        let a = Statistics::from_features(&x).unwrap();
        // A shift moves the means alone; a stretch by 1 + s adds s^2 times the trace.
        let shifted = Statistics::from_features(&(&x + 1e-3)).unwrap();
        let distance = frechet_distance(&a, &shifted).unwrap();
        assert!((distance / 120e-6 - 1.0).abs() < 1e-6, "{distance}");
        let centred = &x - x.mean_dim([0i64].as_slice(), true, Kind::Double);
        let stretched = Statistics::from_features(&(&x + centred * 1e-3)).unwrap();
        let distance = frechet_distance(&a, &stretched).unwrap();
        assert!(
            (distance / (1e-6 * trace(&a)) - 1.0).abs() < 1e-6,
            "{distance}"
        );
    }

    /// Statistics as they are read from a file, which has no factor.
    fn without_factor(statistics: &Statistics) -> Statistics {
        Statistics {
            factor: None,
            ..statistics.shallow_clone()
        }
    }

    #[test]
    fn few_images_are_at_the_distance_of_their_covariances() {
        tch::manual_seed(8);
        let x = Tensor::randn([9, 40], (Kind::Double, Device::Cpu));
        let y = Tensor::randn([60, 40], (Kind::Double, Device::Cpu)) * 1.5 + 0.2;
        let few = Statistics::from_features(&x).unwrap();
        let fewer = Statistics::from_features(&(x.narrow(0, 0, 5) * 2.0)).unwrap();
        let many = Statistics::from_features(&y).unwrap();
        assert!(few.factor.is_some() && many.factor.is_none());
        for (a, b) in [(&few, &many), (&many, &few), (&few, &fewer)] {
            let got = frechet_distance(a, b).unwrap();
            let want = frechet_distance(&without_factor(a), &without_factor(b)).unwrap();
            // The roots of what rounding leaves of eigenvalues that are 0.
            assert!((got - want).abs() < 1e-5 * want, "{got} {want}");
        }
    }

    #[test]
    fn a_draw_is_at_the_distance_of_its_images() {
        tch::manual_seed(5);
        let real = Tensor::randn([90, 12], (Kind::Float, Device::Cpu));
        let reference = FrechetReference::new(&Statistics::from_features(&real).unwrap());
        // More images than dimensions and fewer, with repeats and without.
        let draws: [(i64, Vec<usize>); 3] = [
            (40, (0..40).map(|i| i / 2).collect()),
            (6, vec![5, 0, 0, 3, 3, 3]),
            (7, (0..7).collect()),
        ];
        for (n, drawn) in draws {
            let features = Tensor::randn([n, 12], (Kind::Float, Device::Cpu)) * 1.7 + 0.3;
            let indices: Vec<i64> = drawn.iter().map(|i| *i as i64).collect();
            let chosen = features.index_select(0, &Tensor::from_slice(&indices));
            let want = reference
                .distance_to(&Statistics::from_features(&chosen).unwrap())
                .unwrap();
            let projected = reference.project(&features);
            let got = reference.distance_to_draw(&projected, &drawn).unwrap();
            assert!((got - want).abs() < 1e-6 * want, "{got} {want}");
        }
    }
}
