//! Confidence intervals: of a mean over seeds, of a difference between paired results, of a
//! fraction.

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{Beta, ContinuousCDF, StudentsT};

/// Confidence level of all intervals.
pub const CONFIDENCE: f64 = 0.95;

/// Resamples of [`bootstrap_interval`].
const RESAMPLES: usize = 2000;

/// Mean and spread of independent values (one per seed).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation; none for a single value.
    pub std: Option<f64>,
    /// Half the width of the 95 % interval of the mean by Student's t; none for a single value.
    pub half_width: Option<f64>,
    /// Number of values.
    pub n: usize,
}

/// Summarises independent values.
///
/// # Errors
/// There are no values.
pub fn summary(values: &[f64]) -> Result<Summary> {
    let n = values.len();
    ensure!(n >= 1, "no numbers to summarise");
    let mean = values.iter().sum::<f64>() / n as f64;
    if n == 1 {
        return Ok(Summary {
            mean,
            std: None,
            half_width: None,
            n,
        });
    }
    let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt();
    Ok(Summary {
        mean,
        std: Some(std),
        half_width: half_width(std, n),
        n,
    })
}

/// Half the width of the 95 % interval of a mean by Student's t, from the sample standard deviation
/// of `n` values; none for `n` below 2.
pub fn half_width(std: f64, n: usize) -> Option<f64> {
    Some(half_width_factor(n)? * std)
}

/// [`half_width`] as a multiple of the standard deviation; none for `n` below 2. It is computed by
/// iteration, so tables compute it once per `n`.
pub fn half_width_factor(n: usize) -> Option<f64> {
    let distribution = StudentsT::new(0.0, 1.0, n.checked_sub(1)? as f64).ok()?;
    let t = distribution.inverse_cdf(0.5 + CONFIDENCE / 2.0);
    Some(t / (n as f64).sqrt())
}

/// An estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    /// The estimate from all data.
    pub estimate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Interval {
    /// Whether 0 lies outside the interval.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The value below which a fraction of sorted values lies, linear between neighbours.
fn quantile(sorted: &[f64], fraction: f64) -> f64 {
    let position = fraction * (sorted.len() - 1) as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (position - low as f64)
}

/// The resamples of a bootstrap: `resamples` times `units` indices in `0..units`, drawn with
/// replacement and fixed by `seed`.
///
/// # Errors
/// There are fewer than 2 units.
pub fn bootstrap_draws(units: usize, seed: u64, resamples: usize) -> Result<Vec<Vec<usize>>> {
    ensure!(
        units >= 2,
        "a bootstrap needs at least 2 units, there are {units}"
    );
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draws = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        draws.push((0..units).map(|_| random.random_range(0..units)).collect());
    }
    Ok(draws)
}

/// Percentile interval of a bootstrap, from the statistic's value in each resample.
///
/// # Errors
/// There are no values.
pub fn percentile_interval(estimate: f64, mut values: Vec<f64>) -> Result<Interval> {
    ensure!(!values.is_empty(), "no draws");
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Ok(Interval {
        estimate,
        low: quantile(&values, tail),
        high: quantile(&values, 1.0 - tail),
    })
}

/// Percentile bootstrap of a statistic over `units` that are drawn whole (images with all their
/// seeds). `statistic` gets the drawn indices; the draws are fixed by `seed`.
///
/// # Errors
/// There are fewer than 2 units.
pub fn bootstrap_interval(
    units: usize,
    seed: u64,
    statistic: impl Fn(&[usize]) -> f64,
) -> Result<Interval> {
    let all: Vec<usize> = (0..units).collect();
    let draws = bootstrap_draws(units, seed, RESAMPLES)?;
    percentile_interval(
        statistic(&all),
        draws.iter().map(|drawn| statistic(drawn)).collect(),
    )
}

/// Clopper-Pearson interval of a fraction: `successes` of `trials`.
///
/// # Errors
/// There are no trials, or more successes than trials.
pub fn binomial_interval(successes: usize, trials: usize) -> Result<Interval> {
    ensure!(
        trials > 0 && successes <= trials,
        "{successes} of {trials} is no share"
    );
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let (k, n) = (successes as f64, trials as f64);
    let low = match successes {
        0 => 0.0,
        _ => Beta::new(k, n - k + 1.0)?.inverse_cdf(tail),
    };
    let high = if successes == trials {
        1.0
    } else {
        Beta::new(k + 1.0, n - k)?.inverse_cdf(1.0 - tail)
    };
    Ok(Interval {
        estimate: k / n,
        low,
        high,
    })
}
