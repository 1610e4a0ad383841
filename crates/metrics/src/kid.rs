//! Kernel Inception distance (Binkowski et al. 2018), whatever the features are. Unlike the Fréchet
//! distance it is unbiased.

use crate::intervals::summary;
use anyhow::{Result, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

/// Pairs of subsets that are drawn (the customary number).
const SUBSETS: usize = 100;

/// Largest size of a subset (the customary one).
const MAX_SUBSET_SIZE: usize = 1000;

/// The distance over subsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kid {
    /// Mean over subsets.
    pub mean: f64,
    /// Sample standard deviation over subsets. It tells how far a subset of this size may lie off,
    /// and is no standard error of the mean.
    pub std: f64,
    /// Images per subset.
    pub subset_size: usize,
}

/// `(x y^T / d + 1)^3` for features `[n, d]` and `[m, d]`: `[n, m]`.
fn kernel(x: &Tensor, y: &Tensor) -> Tensor {
    let d = x.size()[1] as f64;
    (x.matmul(&y.transpose(0, 1)) / d + 1.0).pow_tensor_scalar(3)
}

/// Mean of the kernel over pairs of different rows.
fn mean_within(x: &Tensor) -> Tensor {
    let (n, k) = (x.size()[0], kernel(x, x));
    (k.sum(Kind::Double) - k.trace()) / (n * (n - 1)) as f64
}

/// The unbiased estimate of the squared maximum mean discrepancy of two feature sets `[n, d]` and
/// `[m, d]`.
///
/// # Errors
/// n or m is below 2, or the features have different dimensions.
pub fn squared_mmd(x: &Tensor, y: &Tensor) -> Result<f64> {
    let ((n, d), (m, other)) = (x.size2()?, y.size2()?);
    ensure!(
        d == other,
        "features of {d} and {other} dimensions do not compare"
    );
    ensure!(
        n >= 2 && m >= 2,
        "an unbiased estimate needs at least 2 pictures per side, there are {n} and {m}"
    );
    let (x, y) = (x.to_kind(Kind::Double), y.to_kind(Kind::Double));
    let between = kernel(&x, &y).mean(Kind::Double);
    Ok((mean_within(&x) + mean_within(&y) - between * 2.0).double_value(&[]))
}

/// `size` different rows of features `[n, d]`.
fn draw_subset(features: &Tensor, size: usize, random: &mut ChaCha8Rng) -> Tensor {
    let count = features.size()[0] as usize;
    let indices = rand::seq::index::sample(random, count, size);
    let indices: Vec<i64> = indices.into_iter().map(|i| i as i64).collect();
    features.index_select(0, &Tensor::from_slice(&indices))
}

/// The mean of [`squared_mmd`] over 100 pairs of subsets, each drawn without replacement and half
/// as large as the smaller set, but of at most 1,000 images. The draws are fixed by `seed`.
///
/// # Errors
/// A set has fewer than 4 images, or the features have different dimensions.
pub fn kid(x: &Tensor, y: &Tensor, seed: u64) -> Result<Kid> {
    let (n, m) = (x.size()[0] as usize, y.size()[0] as usize);
    let subset_size = MAX_SUBSET_SIZE.min(n.min(m) / 2);
    ensure!(
        subset_size >= 2,
        "KID needs at least 4 pictures per side, there are {n} and {m}"
    );
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::with_capacity(SUBSETS);
    for _ in 0..SUBSETS {
        let x = draw_subset(x, subset_size, &mut random);
        let y = draw_subset(y, subset_size, &mut random);
        values.push(squared_mmd(&x, &y)?);
    }
    let summary = summary(&values)?;
    Ok(Kid {
        mean: summary.mean,
        std: summary.std.unwrap_or(0.0),
        subset_size,
    })
}
