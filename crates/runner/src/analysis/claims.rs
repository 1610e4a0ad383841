//! Claims of the paper held against an experiment's rows: our values, the paired interval of their
//! difference, and the verdict.

use super::paired::PairedRows;
use super::table_row::{Origin, TableRow};
use crate::config::claims::{Claim, Comparison, Statement, published_method};
use crate::config::paper::Paper;
use crate::config::published::published_mean;
use anyhow::Result;
use egsde_metrics::intervals::Interval;
use egsde_metrics::registry::Metric;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;

/// What an experiment says about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The whole interval bears the claim out.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// The whole interval speaks against it.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// The interval allows both.
    #[serde(rename = "undecided")]
    Undecided,
    /// There is no interval.
    #[serde(rename = "not testable")]
    NotTestable,
}

impl Verdict {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::Undecided => "undecided at this size",
            Self::NotTestable => "not testable here",
        }
    }

    /// The verdict on a claim of several comparisons: it fails with any, and holds with all.
    fn on_all(verdicts: impl Iterator<Item = Self>) -> Self {
        // In the order in which one decides the others.
        let order = |verdict: &Self| match verdict {
            Self::NotReproduced => 0,
            Self::NotTestable => 1,
            Self::Undecided => 2,
            Self::Reproduced => 3,
        };
        verdicts.min_by_key(order).unwrap_or(Self::NotTestable)
    }
}

/// The verdict on a comparison, from the interval of the row's difference to the other, whose value
/// is `other`: margins are fractions of it.
pub fn verdict(is: Comparison, difference: &Interval, other: f64) -> Verdict {
    let Interval { low, high, .. } = *difference;
    let (holds, fails) = match is {
        Comparison::Lower => (high < 0.0, low >= 0.0),
        Comparison::Higher => (low > 0.0, high <= 0.0),
        Comparison::NotHigher(margin) => {
            let most = margin * other.abs();
            (high <= most, low > most)
        }
        Comparison::NotLower(margin) => {
            let least = -margin * other.abs();
            (low >= least, high < least)
        }
    };
    match (holds, fails) {
        (true, _) => Verdict::Reproduced,
        (false, true) => Verdict::NotReproduced,
        (false, false) => Verdict::Undecided,
    }
}

/// The values of the two rows of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TwoValues {
    /// The value of the row that the comparison is about.
    pub row: f64,
    /// The value of the row with which it is compared.
    pub than: f64,
}

fn metric_key<S: Serializer>(metric: &&Metric, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(metric.key)
}

fn in_words<S: Serializer>(is: &Comparison, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(is)
}

/// One row compared with another.
#[derive(Debug, Clone, Serialize)]
pub struct Test {
    /// Name of the row that it is about.
    pub row: String,
    /// What is compared.
    #[serde(serialize_with = "metric_key")]
    pub metric: &'static Metric,
    /// How its value must stand to the other's.
    #[serde(serialize_with = "in_words")]
    pub is: Comparison,
    /// Name of the other row.
    pub than: String,
    /// The paper's values, where it has both.
    pub paper: Option<TwoValues>,
    /// Our means, where there are both.
    pub ours: Option<TwoValues>,
    /// Our difference, row less other, with its paired 95 % interval.
    pub difference: Option<Interval>,
    /// What our numbers say.
    pub verdict: Verdict,
    /// Why there is no interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A claim and what our rows say about it.
#[derive(Debug, Clone, Serialize)]
pub struct TestedClaim {
    /// Its name in `results/claims.yaml`.
    pub name: String,
    /// The claim in words.
    pub claim: String,
    /// Where the paper says so.
    pub source: String,
    /// What its comparisons say together.
    pub verdict: Verdict,
    /// Its comparisons.
    pub tests: Vec<Test>,
}

/// Every row that claims name.
pub fn claimed_rows(paper: Option<&Paper>) -> BTreeSet<&str> {
    let claims = paper.iter().flat_map(|paper| &paper.claims);
    let statements = claims.flat_map(|claim| &claim.holds);
    statements.flat_map(Statement::rows).collect()
}

/// What comparisons are tested with.
struct Evidence<'a> {
    paper: &'a Paper,
    rows: &'a [TableRow],
    paired: &'a PairedRows<'a>,
}

impl Evidence<'_> {
    fn row(&self, name: &str) -> Option<&TableRow> {
        let mut ours = self.rows.iter().filter(|row| row.source == Origin::Ours);
        ours.find(|row| row.method == name)
    }

    fn mean(&self, row: &str, metric: &Metric) -> Option<f64> {
        let cell = self.row(row)?.metrics.get(metric.key)?;
        Some(cell.mean)
    }

    fn published(&self, row: &str, metric: &Metric) -> Option<f64> {
        published_mean(&self.paper.lines, published_method(row), metric.key)
    }

    /// Why two rows have no interval in a metric.
    fn reason(&self, row: &str, than: &str, metric: &Metric) -> String {
        for name in [row, than] {
            if self.row(name).is_none() {
                return format!("no row {name}");
            }
            if !self.paired.has_results(name) {
                return format!("{name} has no results");
            }
        }
        let affordable = |name| self.paired.is_affordable(name, metric);
        match affordable(row) && affordable(than) {
            true => "no seeds or fewer than two pictures in common".into(),
            false => "too many jobs or too few pictures for intervals of this distance".into(),
        }
    }

    fn test(&self, statement: &Statement, than: &str) -> Result<Test> {
        let Statement {
            row, metric, is, ..
        } = statement;
        let (row, metric, is) = (row.as_str(), *metric, *is);
        let pair = |row, than| {
            Some(TwoValues {
                row: row?,
                than: than?,
            })
        };
        let ours = pair(self.mean(row, metric), self.mean(than, metric));
        let difference = self.paired.interval(row, than, metric)?;
        let verdict = match (&difference, ours) {
            (Some(difference), Some(ours)) => verdict(is, difference, ours.than),
            _ => Verdict::NotTestable,
        };
        let has_reason = verdict == Verdict::NotTestable;
        Ok(Test {
            row: row.into(),
            metric,
            is,
            than: than.into(),
            paper: pair(self.published(row, metric), self.published(than, metric)),
            ours,
            difference,
            verdict,
            reason: has_reason.then(|| self.reason(row, than, metric)),
        })
    }

    fn test_claim(&self, claim: &Claim) -> Result<TestedClaim> {
        let mut tests = Vec::new();
        for statement in &claim.holds {
            let present = statement.if_present.iter();
            let present = present.filter(|name| self.row(name).is_some());
            for than in statement.than.iter().chain(present) {
                tests.push(self.test(statement, than)?);
            }
        }
        Ok(TestedClaim {
            name: claim.name.clone(),
            claim: claim.claim.clone(),
            source: claim.source.clone(),
            verdict: Verdict::on_all(tests.iter().map(|test| test.verdict)),
            tests,
        })
    }
}

/// The claims about the paper's table beside which an experiment sets itself, each with its
/// verdict; none where not a single comparison can be made.
///
/// # Errors
/// Those of [`PairedRows::interval`].
pub fn test_claims(
    paper: Option<&Paper>,
    rows: &[TableRow],
    paired: &PairedRows,
) -> Result<Vec<TestedClaim>> {
    let Some(paper) = paper else {
        return Ok(Vec::new());
    };
    let evidence = Evidence {
        paper,
        rows,
        paired,
    };
    let claims: Vec<TestedClaim> = paper
        .claims
        .iter()
        .map(|claim| evidence.test_claim(claim))
        .collect::<Result<_>>()?;
    let mut tests = claims.iter().flat_map(|claim| &claim.tests);
    let concerns = tests.any(|test| test.verdict != Verdict::NotTestable);
    Ok(if concerns { claims } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(low: f64, high: f64) -> Interval {
        Interval {
            estimate: (low + high) / 2.0,
            low,
            high,
        }
    }

    #[track_caller]
    fn assert_verdicts(is: Comparison, expected: [(f64, f64, Verdict); 3]) {
        for (low, high, wanted) in expected {
            let found = verdict(is, &between(low, high), 10.0);
            assert_eq!(found, wanted, "{is}: {low} to {high}");
        }
    }

    #[test]
    fn a_strict_comparison_is_decided_by_an_interval_on_one_side_of_0() {
        use Verdict::{NotReproduced, Reproduced, Undecided};
        assert_verdicts(
            Comparison::Lower,
            [
                (-2.0, -1.0, Reproduced),
                (1.0, 2.0, NotReproduced),
                (-1.0, 1.0, Undecided),
            ],
        );
        assert_verdicts(
            Comparison::Higher,
            [
                (1.0, 2.0, Reproduced),
                (-2.0, -1.0, NotReproduced),
                (-1.0, 1.0, Undecided),
            ],
        );
        // Equal rows are neither lower nor higher, and neither above nor below.
        let none = between(0.0, 0.0);
        for is in [Comparison::Lower, Comparison::Higher] {
            assert_eq!(verdict(is, &none, 10.0), NotReproduced);
        }
        for is in [Comparison::NotHigher(0.0), Comparison::NotLower(0.0)] {
            assert_eq!(verdict(is, &none, 10.0), Reproduced);
        }
    }

    #[test]
    fn a_margin_moves_the_side_by_a_fraction_of_the_other_value() {
        use Verdict::{NotReproduced, Reproduced, Undecided};
        // 2 % of 10 is 0.2.
        assert_verdicts(
            Comparison::NotHigher(0.02),
            [
                (-1.0, 0.1, Reproduced),
                (0.3, 1.0, NotReproduced),
                (0.1, 0.3, Undecided),
            ],
        );
        assert_verdicts(
            Comparison::NotLower(0.02),
            [
                (-0.1, 1.0, Reproduced),
                (-1.0, -0.3, NotReproduced),
                (-0.3, -0.1, Undecided),
            ],
        );
        // The value's sign does not turn the margin.
        let near = between(0.0, 0.1);
        assert_eq!(
            verdict(Comparison::NotHigher(0.02), &near, -10.0),
            Reproduced
        );
    }

    #[test]
    fn a_claim_fails_with_any_comparison_and_holds_with_all() {
        use Verdict::{NotReproduced, NotTestable, Reproduced, Undecided};
        let together = |verdicts: &[Verdict]| Verdict::on_all(verdicts.iter().copied());
        assert_eq!(together(&[Reproduced, Reproduced]), Reproduced);
        assert_eq!(together(&[Reproduced, Undecided]), Undecided);
        assert_eq!(together(&[Undecided, NotTestable, Reproduced]), NotTestable);
        assert_eq!(together(&[NotTestable, NotReproduced]), NotReproduced);
        assert_eq!(together(&[]), NotTestable);
    }
}
