//! Fréchet distance between Gaussian fits of two feature sets (FID's formula, whatever the features are).

use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Mean and covariance of a feature set, float64.
#[derive(Debug)]
pub struct Statistics {
    /// `[d]`.
    pub mu: Tensor,
    /// `[d, d]`, divided by n - 1.
    pub sigma: Tensor,
    pub count: i64,
}

impl Statistics {
    /// Of features `[n, d]`, a row a picture; n must be at least 2.
    pub fn of(features: &Tensor) -> Result<Self> {
        let (n, _) = features.size2()?;
        ensure!(
            n >= 2,
            "a covariance needs at least 2 pictures, there are {n}"
        );
        let x = features.to_kind(Kind::Double);
        let mu = x.mean_dim([0i64].as_slice(), false, Kind::Double);
        let centred = x - &mu;
        let sigma = centred.transpose(0, 1).matmul(&centred) / (n - 1) as f64;
        Ok(Self {
            mu,
            sigma,
            count: n,
        })
    }
}

/// A factor `h` with `h h^T` the symmetric positive semi-definite matrix: Cholesky's, many times faster, where it has full
/// rank; else the root, in which rounding below 0 is cut.
fn factor(symmetric: &Tensor) -> Tensor {
    let (lower, info) = symmetric.linalg_cholesky_ex(false, false);
    if info.int64_value(&[]) == 0 {
        return lower;
    }
    let (values, vectors) = symmetric.linalg_eigh("L");
    let roots = values.clamp_min(0.0).sqrt();
    (&vectors * roots.unsqueeze(0)).matmul(&vectors.transpose(0, 1))
}

/// `|mu_a - mu_b|^2 + tr(a) + tr(b) - 2 tr((a b)^(1/2))`; the last trace from the eigenvalues of
/// `h^T b h` with `a = h h^T`, which is symmetric and needs no general matrix root.
pub fn frechet_distance(a: &Statistics, b: &Statistics) -> Result<f64> {
    Anchor::new(a).distance(b)
}

/// One side of many distances: it is factored once.
#[derive(Debug)]
pub struct Anchor {
    mu: Tensor,
    trace: f64,
    half: Tensor,
}

impl Anchor {
    /// Of one side's statistics.
    pub fn new(a: &Statistics) -> Self {
        Self {
            mu: a.mu.shallow_clone(),
            trace: a.sigma.trace().double_value(&[]),
            half: factor(&a.sigma),
        }
    }

    /// The distance to `b`; see [`frechet_distance`].
    pub fn distance(&self, b: &Statistics) -> Result<f64> {
        let (mu, half) = (&self.mu, &self.half);
        ensure!(
            mu.size() == b.mu.size(),
            "features of {:?} and {:?} dimensions do not compare",
            mu.size(),
            b.mu.size()
        );
        let inner = half.transpose(0, 1).matmul(&b.sigma).matmul(half);
        let symmetric = (&inner + inner.transpose(0, 1)) / 2.0;
        Ok(self.put_together(&b.mu, &b.sigma.trace(), &symmetric))
    }

    /// The formula from the other side's mean and trace, and a matrix with the eigenvalues of `h^T b h`.
    fn put_together(&self, mu: &Tensor, trace: &Tensor, inner: &Tensor) -> f64 {
        let cross = inner
            .linalg_eigvalsh("L")
            .clamp_min(0.0)
            .sqrt()
            .sum(Kind::Double);
        let means = (&self.mu - mu).square().sum(Kind::Double);
        (means + self.trace + trace - cross * 2.0).double_value(&[])
    }
}

/// A feature set to draw samples from, seen from an [`Anchor`]'s side once for all draws.
#[derive(Debug)]
pub struct Drawable {
    /// `[n, d]`, float64.
    features: Tensor,
    /// The same times the anchor's factor.
    projected: Tensor,
}

impl Anchor {
    /// Prepares features `[n, d]`.
    pub fn drawable(&self, features: &Tensor) -> Drawable {
        let features = features.to_kind(Kind::Double);
        Drawable {
            projected: features.matmul(&self.half),
            features,
        }
    }

    /// The distance to the pictures drawn, repeats counted: [`Anchor::distance`] without a `[d, d]` decomposition, since few
    /// pictures span few dimensions. The eigenvalues of `half^T cov half` are those of the pictures' own inner products.
    pub fn distance_of_draw(&self, of: &Drawable, drawn: &[usize]) -> Result<f64> {
        ensure!(
            drawn.len() >= 2,
            "a covariance needs at least 2 pictures, there are {}",
            drawn.len()
        );
        let mut counts = BTreeMap::new();
        drawn
            .iter()
            .for_each(|i| *counts.entry(*i as i64).or_insert(0.0) += 1.0);
        let (indices, counts): (Vec<i64>, Vec<f64>) = counts.into_iter().unzip();
        let (indices, weights) = (
            Tensor::from_slice(&indices),
            Tensor::from_slice(&counts).unsqueeze(1),
        );
        let (n, one) = (drawn.len() as f64, [0i64]);
        let chosen = |x: &Tensor| {
            let x = x.index_select(0, &indices);
            let mean = (&x * &weights).sum_dim_intlist(one.as_slice(), false, Kind::Double) / n;
            ((x - &mean) * (&weights / (n - 1.0)).sqrt(), mean)
        };
        let ((features, mu), (projected, _)) = (chosen(&of.features), chosen(&of.projected));
        let (rows, d) = projected.size2()?;
        let turned = projected.transpose(0, 1);
        let inner = if rows < d {
            projected.matmul(&turned)
        } else {
            turned.matmul(&projected)
        };
        Ok(self.put_together(&mu, &features.square().sum(Kind::Double), &inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn diagonal_gaussians_have_a_closed_form() {
        let statistics = |mu: &[f64], var: &[f64]| Statistics {
            mu: Tensor::from_slice(mu),
            sigma: Tensor::from_slice(var).diag(0),
            count: 9,
        };
        let a = statistics(&[0.0, 1.0], &[1.0, 4.0]);
        let b = statistics(&[3.0, 1.0], &[9.0, 4.0]);
        // 9 from the means, (1 - 3)^2 from the deviations.
        assert!((frechet_distance(&a, &b).unwrap() - 13.0).abs() < 1e-9);
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself_whatever_the_order() {
        tch::manual_seed(4);
        let x = Tensor::randn([50, 80], (Kind::Float, Device::Cpu));
        let a = Statistics::of(&x).unwrap();
        let b = Statistics::of(&x.flip([0])).unwrap();
        assert!(frechet_distance(&a, &b).unwrap().abs() < 1e-4);
        assert!(Statistics::of(&x.narrow(0, 0, 1)).is_err());
    }

    #[test]
    fn a_draw_is_at_the_distance_of_its_pictures() {
        tch::manual_seed(5);
        let anchor = Anchor::new(
            &Statistics::of(&Tensor::randn([90, 12], (Kind::Float, Device::Cpu))).unwrap(),
        );
        // More pictures than dimensions and fewer, with repeats and without.
        for (n, drawn) in [
            (40, (0..40).map(|i| i / 2).collect::<Vec<usize>>()),
            (6, vec![5, 0, 0, 3, 3, 3]),
            (7, (0..7).collect()),
        ] {
            let features = Tensor::randn([n, 12], (Kind::Float, Device::Cpu)) * 1.7 + 0.3;
            let indices = Tensor::from_slice(&drawn.iter().map(|i| *i as i64).collect::<Vec<_>>());
            let wanted = anchor
                .distance(&Statistics::of(&features.index_select(0, &indices)).unwrap())
                .unwrap();
            let got = anchor
                .distance_of_draw(&anchor.drawable(&features), &drawn)
                .unwrap();
            assert!((got - wanted).abs() < 1e-6 * wanted, "{got} {wanted}");
        }
    }
}
