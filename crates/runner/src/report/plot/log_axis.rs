//! An axis whose values stand by their logarithm, labelled at round values.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// Numbers of a decade that are labelled: the most for which there is room, and halves where the
/// values lie within a part of a decade.
const LABELLED: [&[f64]; 5] = [
    &[
        1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0, 8.5, 9.0, 9.5,
    ],
    &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 3.0],
    &[1.0],
];

/// Labels of more values would touch each other.
const MOST_LABELS: usize = 9;

/// Room on both sides of the outermost values, as a factor.
const ROOM: f64 = 1.5;

/// The axis; both ends are above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogAxis {
    low: f64,
    high: f64,
}

impl LogAxis {
    /// An axis that holds positive means and the ends of their error bars with room around them. An
    /// end far below its mean, perhaps below 0, is cut off.
    pub fn new(means: impl Iterator<Item = f64>, ends: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut high) = (f64::INFINITY, f64::MIN_POSITIVE);
        for mean in means {
            least = least.min(mean);
            high = high.max(mean);
        }
        let mut low = least;
        for end in ends {
            low = low.min(end);
            high = high.max(end);
        }
        Self {
            low: low.max(least / 2.0) / ROOM,
            high: high * ROOM,
        }
    }

    /// The labelled values: those of `digits` times each power of ten.
    fn values(&self, digits: &[f64]) -> Vec<f64> {
        let (first, last) = (
            self.low.log10().floor() as i32,
            self.high.log10().ceil() as i32,
        );
        let mut values = Vec::new();
        for power in first..=last {
            let values_of_decade = digits.iter().map(|digit| digit * 10f64.powi(power));
            values.extend(values_of_decade.filter(|value| self.range().contains(value)));
        }
        values
    }
}

impl Ranged for LogAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (left, right): (i32, i32)) -> i32 {
        let position = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        left + (f64::from(right - left) * position).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let most = hint.max_num_points().min(MOST_LABELS);
        let values = LABELLED.map(|digits| self.values(digits));
        let fitting = values.into_iter().find(|values| values.len() <= most);
        fitting.unwrap_or_default()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for LogAxis {
    fn format(value: &f64) -> String {
        // As many digits as the value's first one needs, and one more for a half.
        let first = (-value.log10().floor()).max(0.0) as usize;
        let text = format!("{value:.first$}");
        let shown: f64 = text.parse().unwrap_or(f64::NAN);
        if (shown / value - 1.0).abs() < 1e-6 {
            return text;
        }
        let digits = first + 1;
        format!("{value:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_become_distances() {
        let axis = LogAxis {
            low: 0.1,
            high: 10.0,
        };
        let places = [0.1, 1.0, 10.0].map(|value| axis.map(&value, (100, 300)));
        assert_eq!(places, [100, 200, 300]);
        assert_eq!(
            axis.map(&-1.0, (100, 300)),
            100,
            "what has no logarithm stands at the end"
        );
    }

    #[test]
    fn labels_are_round_and_as_many_as_fit() {
        let axis = LogAxis {
            low: 0.015,
            high: 3.0,
        };
        assert_eq!(
            axis.key_points(11usize),
            [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
        );
        assert_eq!(axis.key_points(3usize), [0.1, 1.0]);
        let narrow = LogAxis {
            low: 2.6,
            high: 6.5,
        };
        let halves = [3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0];
        assert_eq!(narrow.key_points(11usize), halves);
        let halves = [3.5, 0.15, 15.0].map(|value| LogAxis::format(&value));
        assert_eq!(halves, ["3.5", "0.15", "15"]);
        let texts = [0.02, 0.5, 1.0, 200.0].map(|value| LogAxis::format(&value));
        assert_eq!(texts, ["0.02", "0.5", "1", "200"]);
    }

    #[test]
    fn an_error_bar_below_0_does_not_stretch_the_axis() {
        let axis = LogAxis::new([1.0, 2.0].into_iter(), [-5.0, 3.0].into_iter());
        assert_eq!((axis.low, axis.high), (0.5 / ROOM, 3.0 * ROOM));
    }
}
