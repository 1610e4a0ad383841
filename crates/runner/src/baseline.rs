//! Stored numbers and whether new ones stay within their tolerance.

use crate::error::{Problem, UserError};
use crate::table::{Origin, Table, TableRow};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// One stored number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub method: String,
    pub metric: String,
    pub mean: f64,
    /// Largest absolute difference allowed.
    pub tolerance: f64,
    /// Program version and commit that made it.
    pub code: String,
    /// Processor and libtorch it was made with.
    pub machine: String,
}

/// What stored numbers were made with.
struct Provenance {
    code: String,
    machine: String,
}

impl Provenance {
    fn here() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = |name: &str| {
            text.lines()
                .find_map(|l| l.strip_prefix(name)?.split_once(':'))
                .map_or("", |(_, v)| v.trim())
        };
        let has = |flag: &str| line("flags").split_whitespace().any(|f| f == flag);
        let widest = ["amx_bf16", "avx512f", "avx2"]
            .into_iter()
            .find(|f| has(f))
            .unwrap_or("no vectors known");
        let machine = format!(
            "{} ({widest}), libtorch {}",
            line("model name"),
            env!("EGSDE_LIBTORCH")
        );
        Self {
            code: crate::CODE.into(),
            machine,
        }
    }
}

/// Share of a number that may move when nobody changed anything. Measured between two processors (Intel with AMX, AMD with AVX2
/// only) on the CI rows at 32 pictures: fid 4.0e-5, l2 7.0e-7, psnr 3.1e-7, ssim 2.4e-8; thread counts and batch sizes move
/// nothing. Two processors are few, so these are 25 times that or more. KID was measured on one only and takes ten times fid's.
const TOLERANCES: [(&str, f64); 5] = [
    ("fid", 1e-3),
    ("kid", 1e-2),
    ("l2", 5e-5),
    ("psnr", 5e-5),
    ("ssim", 1e-5),
];

/// Our rows of a table as stored lines; numbers without a measured tolerance are not held.
pub fn lines(table: &Table) -> Vec<Line> {
    let ours = table.rows.iter().filter(|r| r.source == Origin::Ours);
    let Provenance { code, machine } = Provenance::here();
    let line = |row: &TableRow, (metric, share): (&str, f64)| {
        let mean = row.metrics.get(metric)?.mean;
        let tolerance = mean.abs() * share;
        Some(Line {
            method: row.method.clone(),
            metric: metric.into(),
            mean,
            tolerance,
            code: code.clone(),
            machine: machine.clone(),
        })
    };
    ours.flat_map(|r| {
        TOLERANCES
            .into_iter()
            .filter_map(|t| line(r, t))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Reads a baseline file.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let mut reader =
        csv::Reader::from_path(path).user(format!("cannot read {}", path.display()))?;
    reader
        .deserialize()
        .collect::<Result<_, csv::Error>>()
        .user(path.display())
}

/// The CSV text of a baseline file.
pub fn write(lines: &[Line]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    lines.iter().try_for_each(|l| writer.serialize(l))?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn by_name(lines: &[Line]) -> BTreeMap<(&str, &str), &Line> {
    lines
        .iter()
        .map(|l| ((l.method.as_str(), l.metric.as_str()), l))
        .collect()
}

/// Every number that is gone, new or out of tolerance, one text each.
pub fn differences(new: &[Line], stored: &[Line]) -> Vec<String> {
    let (now, before) = (by_name(new), by_name(stored));
    let mut found = Vec::new();
    for want in stored {
        let Line {
            method,
            metric,
            mean,
            tolerance,
            ..
        } = want;
        match now.get(&(method.as_str(), metric.as_str())) {
            None => found.push(format!("{method} {metric}: stored {mean}, no number now")),
            Some(got) if got.mean.is_nan() || (got.mean - mean).abs() > *tolerance => {
                found.push(format!(
                    "{method} {metric}: {} now, {mean} stored, tolerance {tolerance:.3e}",
                    got.mean
                ));
            }
            Some(_) => {}
        }
    }
    let unknown = new
        .iter()
        .filter(|l| !before.contains_key(&(l.method.as_str(), l.metric.as_str())));
    found.extend(
        unknown.map(|l| format!("{} {}: {} now, nothing stored", l.method, l.metric, l.mean)),
    );
    found
}

/// Fails with every difference on one line.
pub fn compare(new: &[Line], stored: &[Line]) -> Result<()> {
    let found = differences(new, stored);
    if found.is_empty() {
        Ok(())
    } else {
        Err(Problem::No(format!(
            "{} numbers left the baseline: {}",
            found.len(),
            found.join("; ")
        ))
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(method: &str, mean: f64) -> Line {
        Line {
            method: method.into(),
            metric: "l2".into(),
            mean,
            tolerance: 0.1,
            code: "c".into(),
            machine: "m".into(),
        }
    }

    #[test]
    fn what_left_its_tolerance_is_named() {
        let stored = [line("A", 1.0), line("B", 2.0), line("C", 3.0)];
        assert!(differences(&stored, &stored).is_empty());
        let new = [line("A", 1.2), line("B", f64::NAN), line("D", 1.0)];
        let found = differences(&new, &stored);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("A l2: 1.2 now, 1 stored"));
    }

    #[test]
    fn a_file_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.csv");
        std::fs::write(&path, write(&[line("EGSDE†", 1.5)]).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), [line("EGSDE†", 1.5)]);
    }
}
