//! Claims of the paper, from `results/claims.yaml`: what a claim says, and that it names methods,
//! metrics and tasks that there are.

use crate::config::published::PublishedLine;
use crate::error::invalid_input;
use crate::project::Project;
use crate::yaml::{parse_yaml, yaml_text};
use anyhow::Result;
use egsde_data::nearest::offer;
use egsde_metrics::registry::{METRICS, Metric, paired_metrics};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// How the value of one row stands to that of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    /// Below it.
    Lower,
    /// Above it.
    Higher,
    /// At most this fraction of the other value above it; 0 or more.
    NotHigher(f64),
    /// At most this fraction of the other value below it; 0 or more.
    NotLower(f64),
}

/// How a claims file spells comparisons.
const COMPARISONS: [&str; 6] = [
    "lower",
    "higher",
    "not higher",
    "not lower",
    "at most 2 % higher",
    "at most 2 % lower",
];

impl Comparison {
    /// Reads it as a claims file spells it; none of another text.
    fn from_words(text: &str) -> Option<Self> {
        match text {
            "lower" => return Some(Self::Lower),
            "higher" => return Some(Self::Higher),
            "not higher" => return Some(Self::NotHigher(0.0)),
            "not lower" => return Some(Self::NotLower(0.0)),
            _ => {}
        }
        let (percent, direction) = text.strip_prefix("at most ")?.split_once('%')?;
        let margin: f64 = percent.trim().parse().ok()?;
        if !(margin.is_finite() && margin >= 0.0) {
            return None;
        }
        match direction.trim() {
            "higher" => Some(Self::NotHigher(margin / 100.0)),
            "lower" => Some(Self::NotLower(margin / 100.0)),
            _ => None,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lower => f.write_str("lower"),
            Self::Higher => f.write_str("higher"),
            Self::NotHigher(0.0) => f.write_str("not higher"),
            Self::NotLower(0.0) => f.write_str("not lower"),
            Self::NotHigher(margin) => write!(f, "at most {} % higher", 100.0 * margin),
            Self::NotLower(margin) => write!(f, "at most {} % lower", 100.0 * margin),
        }
    }
}

/// Reads a comparison inside the visitor, so that an error carries its line.
struct ComparisonVisitor;

impl Visitor<'_> for ComparisonVisitor {
    type Value = Comparison;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a comparison such as `lower` or `at most 2 % higher`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Comparison, E> {
        Comparison::from_words(text).ok_or_else(|| {
            let known = COMPARISONS.map(|words| format!("`{words}`")).join(", ");
            E::custom(format!(
                "unknown comparison `{text}`, expected one of {known}"
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Comparison {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ComparisonVisitor)
    }
}

/// Reads the key of a metric whose differences have an interval.
struct PairedMetricVisitor;

impl Visitor<'_> for PairedMetricVisitor {
    type Value = &'static Metric;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the key of a metric such as `fid`")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<&'static Metric, E> {
        let known = paired_metrics().into_iter();
        if let Some(metric) = known.clone().find(|metric| metric.key == key) {
            return Ok(metric);
        }
        let known: Vec<String> = known.map(|metric| format!("`{}`", metric.key)).collect();
        let known = known.join(", ");
        if METRICS.iter().any(|metric| metric.key == key) {
            let text = format!("differences of {key} have no paired interval: take one of {known}");
            return Err(E::custom(text));
        }
        Err(E::custom(format!(
            "unknown metric `{key}`, expected one of {known}"
        )))
    }
}

fn paired_metric<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static Metric, D::Error> {
    deserializer.deserialize_str(PairedMetricVisitor)
}

/// One name, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a row's name or a list of them")]
enum Names {
    One(String),
    Many(Vec<String>),
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Many(names) => names,
    };
    if names.is_empty() {
        return Err(D::Error::custom("a list without names: give at least one"));
    }
    Ok(names)
}

/// One comparison of a claim: a row against others in one metric.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Name of the row that it is about.
    pub row: String,
    /// What is compared.
    #[serde(deserialize_with = "paired_metric")]
    pub metric: &'static Metric,
    /// How its value stands to the others'.
    pub is: Comparison,
    /// Rows without which the claim cannot be tested.
    #[serde(deserialize_with = "names")]
    pub than: Vec<String>,
    /// Rows that are compared too where the experiment has them.
    #[serde(default, deserialize_with = "names")]
    pub if_present: Vec<String>,
}

/// A claim: all of its statements hold.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Short name for programs, unique in the file.
    pub name: String,
    /// The claim in words.
    pub claim: String,
    /// Where the paper says so.
    pub source: String,
    /// The table that it is about, as `results/published.csv` numbers it.
    pub table: String,
    /// The tasks of which the paper claims it, as `results/published.csv` names them.
    #[serde(deserialize_with = "names")]
    pub tasks: Vec<String>,
    /// What must hold.
    pub holds: Vec<Statement>,
}

/// What the file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsFile {
    claims: Vec<Claim>,
}

/// The method of a row: what stands before a remark in brackets, such as `StarGAN v2` of
/// `StarGAN v2 (latent)`.
pub fn published_method(row: &str) -> &str {
    row.split_once(" (").map_or(row, |(method, _)| method)
}

impl Statement {
    /// Every row that it names.
    pub fn rows(&self) -> impl Iterator<Item = &str> {
        let others = self.than.iter().chain(&self.if_present);
        std::iter::once(&self.row).chain(others).map(String::as_str)
    }

    fn check(&self, methods: &BTreeSet<&str>, table: &str) -> Result<(), String> {
        for row in self.rows() {
            let method = published_method(row);
            if !methods.contains(row) && !methods.contains(method) {
                let offer = offer(method, methods.iter().copied());
                return Err(format!(
                    "no method `{method}` in table {table} of results/published.csv{offer}"
                ));
            }
        }
        match self.rows().filter(|row| *row == self.row).count() {
            1 => Ok(()),
            _ => Err(format!("row `{}` is compared with itself", self.row)),
        }
    }
}

/// The different values of one column, in order.
fn distinct<'a>(values: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
    values.map(String::as_str).collect()
}

impl Claim {
    /// What is wrong with its names, by the published numbers.
    fn check(&self, published: &[PublishedLine]) -> Result<(), String> {
        let of_table = || published.iter().filter(|line| line.table == self.table);
        if of_table().next().is_none() {
            let tables = distinct(published.iter().map(|line| &line.table));
            let tables = tables.into_iter().collect::<Vec<_>>().join(", ");
            let table = &self.table;
            return Err(format!(
                "no table {table} in results/published.csv; there are {tables}"
            ));
        }
        let tasks = distinct(of_table().map(|line| &line.task));
        for task in &self.tasks {
            if !tasks.contains(task.as_str()) {
                let offer = offer(task, tasks.iter().copied());
                let table = &self.table;
                return Err(format!(
                    "no task `{task}` in table {table} of results/published.csv{offer}"
                ));
            }
        }
        if self.holds.is_empty() {
            return Err("holds is empty: give at least one comparison".into());
        }
        let methods = distinct(of_table().map(|line| &line.method));
        let mut statements = self.holds.iter();
        statements.try_for_each(|statement| statement.check(&methods, &self.table))
    }
}

/// The 1-based line on which a claim's name stands.
fn line_number(text: &str, name: &str) -> usize {
    let found = text.lines().position(|line| {
        let value = line.split_once("name:").map(|(_, value)| value.trim());
        value.is_some_and(|value| value.trim_matches(['"', '\'']) == name)
    });
    found.map_or(1, |index| index + 1)
}

/// Reads claims from text and checks them against the published numbers; `path` names it in errors.
fn parse_claims(text: &str, path: &Path, published: &[PublishedLine]) -> Result<Vec<Claim>> {
    let ClaimsFile { claims } = parse_yaml(text, path)?;
    let mut seen = BTreeSet::new();
    for claim in &claims {
        let name = &claim.name;
        let checked = match seen.insert(name) {
            true => claim.check(published),
            false => Err("stands twice: give each a name of its own".into()),
        };
        checked.map_err(|text_of_error| {
            let (path, line) = (path.display(), line_number(text, name));
            invalid_input(format!("{path}:{line}: claim `{name}`: {text_of_error}"))
        })?;
    }
    Ok(claims)
}

/// Every claim of a project's file, checked against the published numbers; none where there is no
/// such file.
///
/// # Errors
/// Invalid input: a mistake in the file, with its line and the nearest name.
pub fn read_claims(project: &Project, published: &[PublishedLine]) -> Result<Vec<Claim>> {
    let path = project.claims();
    if !path.is_file() {
        return Ok(Vec::new());
    }
    parse_claims(&yaml_text(&path)?, &path, published)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::published::{published_mean, read_published};

    const TEXT: &str = "\
claims:
  - name: first
    claim: EGSDE beats SDEdit
    source: slides
    table: \"1\"
    tasks: [cat2dog]
    holds:
      - {row: EGSDE, metric: fid, is: lower, than: SDEdit}
      - {row: EGSDE, metric: l2, is: at most 2 % higher, than: [SDEdit, ILVR], if_present: CUT}
";

    fn published() -> Vec<PublishedLine> {
        read_published(&Project::of_this_checkout()).unwrap()
    }

    fn parse(text: &str) -> Result<Vec<Claim>> {
        parse_claims(text, Path::new("claims.yaml"), &published())
    }

    #[test]
    fn a_claim_is_read_with_margin_and_rows() {
        let claims = parse(TEXT).unwrap();
        let [strict, margin] = &claims[0].holds[..] else {
            panic!("{claims:?}");
        };
        assert_eq!((strict.is, strict.metric.key), (Comparison::Lower, "fid"));
        assert_eq!(margin.is, Comparison::NotHigher(0.02));
        let rows: Vec<&str> = margin.rows().collect();
        assert_eq!(rows, ["EGSDE", "SDEdit", "ILVR", "CUT"]);
    }

    #[test]
    fn comparisons_are_spelt_as_they_are_read() {
        for words in COMPARISONS {
            let read = Comparison::from_words(words).unwrap();
            assert_eq!(read.to_string(), words);
        }
        for wrong in ["at most -1 % higher", "at most % lower", "at most 2 higher"] {
            assert_eq!(Comparison::from_words(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn mistakes_are_told_with_line_and_nearest_name() {
        let mistakes: [(&str, &str, &[&str]); 11] = [
            ("is: lower", "is: lowr", &[":8:", "did you mean `lower`?"]),
            (
                "metric: fid",
                "metric: fidd",
                &[":8:", "did you mean `fid`?"],
            ),
            ("metric: fid", "metric: kid", &[":8:", "no paired interval"]),
            (
                "row: EGSDE, metric: fid",
                "rowe: EGSDE, metric: fid",
                &[":8:", "`row`?"],
            ),
            (
                "than: SDEdit",
                "than: SDEdti",
                &[":2:", "`first`", "did you mean `SDEdit`?"],
            ),
            ("than: SDEdit", "than: EGSDE", &["compared with itself"]),
            ("than: SDEdit", "than: []", &[":8:", "without names"]),
            ("[cat2dog]", "[cat2dgo]", &["did you mean `cat2dog`?"]),
            ("\"1\"", "\"2\"", &["no table 2", "there are 1"]),
            (
                "source: slides",
                "sources: slides",
                &[":4:", "did you mean `source`?"],
            ),
            ("2 % higher", "two % higher", &[":9:", "at most 2 % higher"]),
        ];
        for (from, to, parts) in mistakes {
            assert!(TEXT.contains(from), "{from}");
            let error = parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
        let twice = format!("{TEXT}{}", TEXT.strip_prefix("claims:\n").unwrap());
        let error = parse(&twice).unwrap_err().to_string();
        assert!(error.contains("claim `first`: stands twice"), "{error}");
    }

    /// Whether a statement holds between two numbers of the paper.
    fn holds(is: Comparison, row: f64, other: f64) -> bool {
        match is {
            Comparison::Lower => row < other,
            Comparison::Higher => row > other,
            Comparison::NotHigher(margin) => row <= other * (1.0 + margin),
            Comparison::NotLower(margin) => row >= other * (1.0 - margin),
        }
    }

    #[test]
    fn the_claims_that_ship_are_borne_out_by_the_papers_own_numbers() {
        let (project, published) = (Project::of_this_checkout(), published());
        let claims = read_claims(&project, &published).unwrap();
        let mut compared = 0;
        for claim in &claims {
            for task in &claim.tasks {
                let lines = published.iter().filter(|line| line.task == *task);
                let lines: Vec<PublishedLine> = lines.cloned().collect();
                for Statement {
                    row,
                    metric,
                    is,
                    than,
                    if_present,
                } in &claim.holds
                {
                    for other in than.iter().chain(if_present) {
                        let [row, other] = [row, other]
                            .map(|row| published_mean(&lines, published_method(row), metric.key));
                        if let (Some(row), Some(other)) = (row, other) {
                            assert!(holds(*is, row, other), "{}: {row} {is} {other}", claim.name);
                            compared += 1;
                        }
                    }
                }
            }
        }
        assert!(claims.len() >= 8 && compared >= 20, "{compared}");
    }
}
