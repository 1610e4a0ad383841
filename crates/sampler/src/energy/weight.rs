//! How much an expert counts, which may depend on the time.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// A weight over the time t / T in [0, 1]; 1 is pure noise. In YAML: `30`, `{linear: [0, 30]}` (at t = T, at t = 0), or
/// `{value: 30, from: 0.5, to: 0.1}` (only while `to <= t / T <= from`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Weight {
    Constant(f64),
    Linear(Linear),
    Range(Range),
}

/// From its value at t = T to its value at t = 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    pub linear: [f64; 2],
}

/// One value between two times, 0 outside.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub value: f64,
    /// The earlier of the two on the way down, t / T.
    pub from: f64,
    pub to: f64,
}

impl Weight {
    /// At t / T.
    pub fn at(self, share: f64) -> f64 {
        match self {
            Self::Constant(w) => w,
            Self::Linear(Linear {
                linear: [noise, picture],
            }) => picture + (noise - picture) * share,
            Self::Range(Range { value, from, to }) => {
                if (to..=from).contains(&share) {
                    value
                } else {
                    0.0
                }
            }
        }
    }

    /// Finite and not negative everywhere, times in order.
    pub fn check(self) -> Result<()> {
        let good = |w: f64| w.is_finite() && w >= 0.0;
        match self {
            Self::Constant(w) => ensure!(good(w), "a weight of {w}: must be 0 or more"),
            Self::Linear(Linear { linear }) => ensure!(
                linear.into_iter().all(good),
                "weights {linear:?}: must be 0 or more"
            ),
            Self::Range(Range { value, from, to }) => {
                ensure!(good(value), "a weight of {value}: must be 0 or more");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_over_time() {
        let linear = Weight::Linear(Linear {
            linear: [0.0, 10.0],
        });
        assert_eq!([1.0, 0.5, 0.0].map(|t| linear.at(t)), [0.0, 5.0, 10.0]);
        let range = Weight::Range(Range {
            value: 3.0,
            from: 0.4,
            to: 0.2,
        });
        assert_eq!(
            [0.5, 0.4, 0.3, 0.2, 0.1].map(|t| range.at(t)),
            [0.0, 3.0, 3.0, 3.0, 0.0]
        );
        assert!(
            Weight::Constant(-1.0).check().is_err() && Weight::Constant(f64::NAN).check().is_err()
        );
        assert!(
            Weight::Range(Range {
                value: 1.0,
                from: 0.2,
                to: 0.4
            })
            .check()
            .is_err()
        );
        assert!(Weight::Constant(0.0).is_zero() && !linear.is_zero() && range.check().is_ok());
    }
}
