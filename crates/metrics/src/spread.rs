//! Spread of numbers: over seeds, between paired results, of a share.

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{Beta, ContinuousCDF, StudentsT};

/// How sure an interval is.
pub const CONFIDENCE: f64 = 0.95;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;

/// Of a few numbers that are independent of each other (seeds).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub mean: f64,
    /// Sample standard deviation; none of a single number.
    pub std: Option<f64>,
    /// Half the width of the 95 % interval of the mean by Student's t; none of a single number.
    pub half_width: Option<f64>,
    pub n: usize,
}

/// Of at least one number.
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

/// Half the width of the 95 % interval of a mean by Student's t, from the sample deviation of n numbers; none below 2.
pub fn half_width(std: f64, n: usize) -> Option<f64> {
    Some(deviations(n)? * std)
}

/// The same as a multiple of the deviation, which costs some iterations: tables take it once for each n.
pub fn deviations(n: usize) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, n.checked_sub(1)? as f64)
        .ok()?
        .inverse_cdf(0.5 + CONFIDENCE / 2.0);
    Some(t / (n as f64).sqrt())
}

/// An estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    pub estimate: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// Whether 0 lies outside, on whichever side.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The value below which a share of sorted values lies, linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

/// Draws of a bootstrap: `resamples` times as many of `units` things as there are, with repeats, fixed by `seed`.
pub fn draws(units: usize, seed: u64, resamples: usize) -> Result<Vec<Vec<usize>>> {
    ensure!(
        units >= 2,
        "a bootstrap needs at least 2 units, there are {units}"
    );
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    Ok((0..resamples)
        .map(|_| (0..units).map(|_| random.random_range(0..units)).collect())
        .collect())
}

/// Percentile interval of what a statistic was over the draws.
pub fn percentiles(estimate: f64, mut values: Vec<f64>) -> Result<Interval> {
    ensure!(!values.is_empty(), "no draws");
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Ok(Interval {
        estimate,
        low: quantile(&values, tail),
        high: quantile(&values, 1.0 - tail),
    })
}

/// Percentile bootstrap over `units` things that are drawn together (pictures with all their seeds): `statistic` gets the
/// drawn indices. Draws are fixed by `seed`.
pub fn bootstrap(units: usize, seed: u64, statistic: impl Fn(&[usize]) -> f64) -> Result<Interval> {
    let all: Vec<usize> = (0..units).collect();
    let values = draws(units, seed, RESAMPLES)?
        .iter()
        .map(|drawn| statistic(drawn))
        .collect();
    percentiles(statistic(&all), values)
}

/// Clopper-Pearson interval of a share: `successes` of `trials`.
pub fn binomial(successes: usize, trials: usize) -> Result<Interval> {
    ensure!(
        trials > 0 && successes <= trials,
        "{successes} of {trials} is no share"
    );
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let (k, n) = (successes as f64, trials as f64);
    let low = if successes == 0 {
        0.0
    } else {
        Beta::new(k, n - k + 1.0)?.inverse_cdf(tail)
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
