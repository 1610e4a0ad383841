//! Weights of experts, which may depend on the time.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// A weight over the time t / T in [0, 1], where 1 is pure noise. In YAML: `30`,
/// `{linear: [0, 30]}` (at t = T, at t = 0), or `{value: 30, from: 0.5, to: 0.1}` (only while
/// `to <= t / T <= from`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a weight is a number, {linear: [AT_T, AT_0]} or {value: N, from: F, to: T}"
)]
pub enum Weight {
    /// The same at all times.
    Constant(f64),
    /// Linear in t.
    Linear(Linear),
    /// Constant within a range of times, 0 outside.
    Range(Range),
}

/// A weight that is linear in t.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Its values at t = T and at t = 0.
    pub linear: [f64; 2],
}

/// A weight that is constant within a range of times and 0 outside.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The weight within the range.
    pub value: f64,
    /// Upper end of the range as t / T, where a translation enters it.
    pub from: f64,
    /// Lower end of the range as t / T.
    pub to: f64,
}

impl Weight {
    /// The weight at t / T.
    pub fn at(self, t_frac: f64) -> f64 {
        match self {
            Self::Constant(w) => w,
            Self::Linear(Linear {
                linear: [at_noise, at_image],
            }) => at_image + (at_noise - at_image) * t_frac,
            Self::Range(Range { value, from, to }) => {
                if (to..=from).contains(&t_frac) {
                    value
                } else {
                    0.0
                }
            }
        }
    }

    /// Checks that the weight is finite and not negative everywhere, and its times are in order.
    ///
    /// # Errors
    /// The first number that is not, by value.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Constant(w) => ensure!(is_valid(w), "a weight of {w}: must be 0 or more"),
            Self::Linear(Linear { linear }) => {
                let valid = linear.into_iter().all(is_valid);
                ensure!(valid, "weights {linear:?}: must be 0 or more");
            }
            Self::Range(Range { value, from, to }) => {
                ensure!(is_valid(value), "a weight of {value}: must be 0 or more");
                ensure!(
                    (0.0..=1.0).contains(&to) && to <= from && from <= 1.0,
                    "from {from} to {to}: must be 1 >= from >= to >= 0 (t / T)"
                );
            }
        }
        Ok(())
    }

    /// Whether it is 0 at every time.
    pub fn is_zero(self) -> bool {
        match self {
            Self::Constant(w) | Self::Range(Range { value: w, .. }) => w == 0.0,
            Self::Linear(Linear { linear }) => linear == [0.0; 2],
        }
    }
}

fn is_valid(weight: f64) -> bool {
    weight.is_finite() && weight >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: Weight = Weight::Linear(Linear {
        linear: [0.0, 10.0],
    });
    const RANGE: Weight = Weight::Range(Range {
        value: 3.0,
        from: 0.4,
        to: 0.2,
    });

    #[test]
    fn a_weight_follows_the_time() {
        assert_eq!(
            [1.0, 0.5, 0.0].map(|t_frac| LINEAR.at(t_frac)),
            [0.0, 5.0, 10.0]
        );
        let values = [0.5, 0.4, 0.3, 0.2, 0.1].map(|t_frac| RANGE.at(t_frac));
        assert_eq!(values, [0.0, 3.0, 3.0, 3.0, 0.0]);
        assert!(Weight::Constant(0.0).is_zero() && !LINEAR.is_zero());
    }

    #[test]
    fn negative_weights_nan_and_swapped_times_are_refused() {
        assert!(Weight::Constant(-1.0).check().is_err());
        assert!(Weight::Constant(f64::NAN).check().is_err());
        assert!(
            Weight::Range(Range {
                value: 1.0,
                from: 0.2,
                to: 0.4
            })
            .check()
            .is_err()
        );
        assert!(RANGE.check().is_ok());
    }
}
