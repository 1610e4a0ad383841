//! Cells as people read them, the same in every format.

use crate::analysis::claims::{Test, TestedClaim, TwoValues, Verdict};
use crate::analysis::table::{Cell, Origin, TableRow};
use egsde_metrics::intervals::Interval;
use egsde_metrics::registry::Metric;
use std::collections::BTreeMap;

/// A cell: mean and standard deviation, with the format's sign between them, and the mark of what
/// the number stands with.
pub fn format_cell(cell: Option<&Cell>, metric: &Metric, plus_minus: &str) -> String {
    let (digits, scale) = (metric.digits, metric.scale);
    let Some(cell) = cell else {
        return "-".into();
    };
    let mark = cell.note.map(|note| note.mark()).unwrap_or_default();
    let mean = cell.mean * scale;
    match cell.std {
        None => format!("{mean:.digits$}{mark}"),
        Some(std) => {
            let std = std * scale;
            format!("{mean:.digits$} {plus_minus} {std:.digits$}{mark}")
        }
    }
}

/// `+0.50 [+0.10, +0.90]`.
pub fn format_bounds(interval: &Interval, metric: &Metric) -> String {
    let (digits, scale) = (metric.digits, metric.scale);
    format!(
        "{:+.digits$} [{:+.digits$}, {:+.digits$}]",
        interval.estimate * scale,
        interval.low * scale,
        interval.high * scale
    )
}

/// `+0.50 [+0.10, +0.90] *`: the star says that the interval excludes 0.
pub fn format_interval(interval: &Interval, metric: &Metric) -> String {
    let star = if interval.excludes_zero() { " *" } else { "" };
    format!("{}{star}", format_bounds(interval, metric))
}

/// `EGSDE` or `EGSDE (published)`, for a table of both.
pub fn row_label(row: &TableRow) -> String {
    match row.source {
        Origin::Ours => row.method.clone(),
        Origin::Published => format!("{} (published)", row.method),
    }
}

/// Whether a row has the best mean of our rows; `bests` are those of
/// [`Table::bests`](crate::analysis::table::Table::bests).
pub fn is_best(row: &TableRow, metric: &Metric, bests: &BTreeMap<&'static str, f64>) -> bool {
    let mean = row.metrics.get(metric.key).map(|cell| &cell.mean);
    row.source == Origin::Ours && mean.is_some() && mean == bests.get(metric.key)
}

/// `FID: EGSDE lower than SDEdit`.
pub fn test_in_words(test: &Test) -> String {
    let Test {
        row,
        metric,
        is,
        than,
        ..
    } = test;
    format!("{}: {row} {is} than {than}", metric.heading)
}

/// The values of both rows, `3.23, 3.63`.
pub fn format_values(values: Option<&TwoValues>, metric: &Metric) -> String {
    let (digits, scale) = (metric.digits, metric.scale);
    values.map_or("-".into(), |TwoValues { row, than }| {
        format!("{:.digits$}, {:.digits$}", row * scale, than * scale)
    })
}

/// Our difference with its interval.
pub fn format_difference(test: &Test) -> String {
    let difference = test.difference.as_ref();
    difference.map_or("-".into(), |found| format_bounds(found, test.metric))
}

/// The comparisons of a claim that were made; those that could not be made are told beside its
/// verdict.
pub fn made_tests(claim: &TestedClaim) -> impl Iterator<Item = &Test> {
    let tests = claim.tests.iter();
    tests.filter(|test| test.verdict != Verdict::NotTestable)
}

/// The verdict of a claim, with the reasons where it cannot be tested.
pub fn verdict_in_words(claim: &TestedClaim) -> String {
    let words = claim.verdict.words();
    if claim.verdict != Verdict::NotTestable {
        return words.into();
    }
    let mut reasons: Vec<&str> = Vec::new();
    for reason in claim.tests.iter().filter_map(|test| test.reason.as_deref()) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    format!("{words}: {}", reasons.join(", "))
}

/// Headings of the claims, as every format has them.
pub const CLAIM_HEADINGS: [&str; 5] = [
    "Claim",
    "Paper",
    "Ours",
    "Our difference, 95 % interval",
    "Verdict",
];

/// What stands over the claims.
pub fn claims_introduction(pictures: usize) -> String {
    format!(
        "What the paper claims about its table, held against our rows. Values are those of the row \
         named first, then of the other; the difference has the interval of a paired bootstrap \
         over the {pictures} pictures, which decides."
    )
}
