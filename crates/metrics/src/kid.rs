//! Kernel Inception distance (Binkowski et al. 2018), with whatever features: unbiased, unlike the Fréchet distance.

use anyhow::{Result, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

/// Subsets that are drawn (the field's custom).
const SUBSETS: usize = 100;

/// Largest subset (the field's custom).
const SUBSET_SIZE: usize = 1000;

/// Mean over subsets and their standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kid {
    pub mean: f64,
    /// Over subsets, sample deviation: says how far a subset of this size may lie off, not a standard error.
    pub std: f64,
    pub subset_size: usize,
}

/// `(x y^T / d + 1)^3`.
fn kernel(x: &Tensor, y: &Tensor) -> Tensor {
    let d = x.size()[1] as f64;
    (x.matmul(&y.transpose(0, 1)) / d + 1.0).pow_tensor_scalar(3)
}

/// The unbiased estimate of the squared maximum mean discrepancy of two feature sets `[n, d]`, `[m, d]`, n and m at least 2.
pub fn squared_mmd(x: &Tensor, y: &Tensor) -> Result<f64> {
    let ((n, d), (m, other)) = (x.size2()?, y.size2()?);
    ensure!(
        d == other,
        "features of {d} and {other} dimensions do not compare"
    );
    ensure!(
        n >= 2 && m >= 2,
        "an unbiased estimate needs at least 2 pictures a side, there are {n} and {m}"
    );
    let (x, y) = (x.to_kind(Kind::Double), y.to_kind(Kind::Double));
    let within = |a: &Tensor, n: i64| {
        let k = kernel(a, a);
        (k.sum(Kind::Double) - k.trace()) / (n * (n - 1)) as f64
    };
    let between = kernel(&x, &y).mean(Kind::Double);
    Ok((within(&x, n) + within(&y, m) - between * 2.0).double_value(&[]))
}

/// [`squared_mmd`] over 100 pairs of subsets without replacement, of half the smaller set but at most 1,000. Draws are fixed by
/// `seed`.
pub fn kid(x: &Tensor, y: &Tensor, seed: u64) -> Result<Kid> {
    let (n, m) = (x.size()[0] as usize, y.size()[0] as usize);
    let size = SUBSET_SIZE.min(n.min(m) / 2);
    ensure!(
        size >= 2,
        "KID needs at least 4 pictures a side, there are {n} and {m}"
    );
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |of: &Tensor, count: usize| {
        let chosen: Vec<i64> = rand::seq::index::sample(&mut random, count, size)
            .into_iter()
            .map(|i| i as i64)
            .collect();
        of.index_select(0, &Tensor::from_slice(&chosen))
    };
    let mut values = Vec::with_capacity(SUBSETS);
    for _ in 0..SUBSETS {
        values.push(squared_mmd(&draw(x, n), &draw(y, m))?);
    }
    let summary = crate::spread::summary(&values)?;
    Ok(Kid {
        mean: summary.mean,
        std: summary.std.unwrap_or(0.0),
        subset_size: size,
    })
}
