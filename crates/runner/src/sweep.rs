//! The `sweep:` section of an experiment: rows that differ in some keys.

use crate::error::Problem;
use crate::spec::{Row, set};
use crate::yaml::{offer, with_suggestion};
use anyhow::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Varies rows over values of any of their keys (`lambda_s`, `start`, `experts.0.weight`, ...).
#[derive(Debug, Clone, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Names of the rows it varies; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<String>,
    /// Every combination of these values.
    #[serde(default, skip_serializing_if = "Mapping::is_empty")]
    pub grid: Mapping,
    /// Each of these settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<Mapping>,
}

/// What one row of a sweep was given, for its name and for curves.
pub type Varied = BTreeMap<String, String>;

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other)
            .unwrap_or_default()
            .trim()
            .replace('\n', " "),
    }
}

/// Values of one key of a grid.
fn values(value: &Value) -> Vec<Value> {
    match value {
        Value::Sequence(values) => values.clone(),
        one => vec![one.clone()],
    }
}

fn key(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(String::from)
        .ok_or_else(|| Problem::user(format!("sweep: {value:?} is no key")))
}

impl Sweep {
    fn applies(&self, row: &Row) -> bool {
        self.rows.is_empty() || self.rows.contains(&row.name)
    }

    /// How many rows it makes of one.
    pub fn combinations(&self) -> usize {
        let grid = self
            .grid
            .values()
            .map(|v| values(v).len())
            .fold(1, usize::saturating_mul);
        match (self.grid.is_empty(), self.list.len()) {
            (true, n) => n,
            (false, 0) => grid,
            (false, n) => grid.saturating_mul(n),
        }
    }

    /// Every setting it makes: the list's, each with every combination of the grid.
    fn settings(&self) -> Result<Vec<Vec<(String, Value)>>> {
        let pairs = |m: &Mapping| {
            m.iter()
                .map(|(k, v)| Ok((key(k)?, v.clone())))
                .collect::<Result<Vec<_>>>()
        };
        let mut all = if self.list.is_empty() {
            vec![Vec::new()]
        } else {
            self.list.iter().map(pairs).collect::<Result<Vec<_>>>()?
        };
        for (k, v) in &self.grid {
            let (k, values) = (key(k)?, values(v));
            let with = |setting: &Vec<(String, Value)>| {
                let k = &k;
                values
                    .iter()
                    .map(|v| [&setting[..], &[(k.clone(), v.clone())]].concat())
                    .collect::<Vec<_>>()
            };
            all = all.iter().flat_map(with).collect();
        }
        Ok(all)
    }

    /// The rows it makes of one, named by what differs.
    fn vary(&self, row: &Row, at: &str) -> Result<Vec<Row>> {
        let tree = serde_yaml::to_value(row)?;
        let vary = |setting: Vec<(String, Value)>| {
            let (mut tree, mut varied) = (tree.clone(), Varied::new());
            for (key, value) in setting {
                set(&mut tree, &key, value.clone())
                    .map_err(|e| Problem::user(format!("{at}: sweep over {key}: {e:#}")))?;
                varied.insert(key, shown(&value));
            }
            let suffix: String = varied.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            tree["name"] = format!("{}{suffix}", row.name).into();
            let typed: Row = serde_yaml::from_value(tree).map_err(|e| {
                Problem::user(format!(
                    "{at}: sweep of row {:?}: {}",
                    row.name,
                    with_suggestion(&e.to_string())
                ))
            })?;
            Ok(Row {
                varied,
                base: Some(row.name.clone()),
                ..typed
            })
        };
        self.settings()?.into_par_iter().map(vary).collect()
    }
}

/// How many rows there will be, without making them.
pub fn count(rows: &[Row], sweeps: &[Sweep]) -> usize {
    let of = |row: &Row| {
        sweeps
            .iter()
            .filter(|s| s.applies(row))
            .map(Sweep::combinations)
            .reduce(usize::saturating_add)
            .unwrap_or(1)
    };
    rows.iter().map(of).fold(0, usize::saturating_add)
}

/// Rows no sweep names stay; each sweep makes its own of the others, one after another.
pub fn expand(rows: &[Row], sweeps: &[Sweep], at: &str) -> Result<Vec<Row>> {
    for name in sweeps.iter().flat_map(|s| &s.rows) {
        let known = || rows.iter().map(|r| r.name.as_str());
        if !known().any(|n| n == name) {
            return Err(Problem::user(format!(
                "{at}: sweep names no row `{name}`{}",
                offer(name, known())
            )));
        }
    }
    if let Some(empty) = sweeps.iter().find(|s| s.combinations() == 0) {
        return Err(Problem::user(format!(
            "{at}: a sweep over nothing ({:?}): give grid or list",
            empty.rows
        )));
    }
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for row in rows {
        let own: Vec<&Sweep> = sweeps.iter().filter(|s| s.applies(row)).collect();
        let made = if own.is_empty() {
            vec![row.clone()]
        } else {
            Vec::new()
        };
        let varied: Vec<Vec<Row>> = own.iter().map(|s| s.vary(row, at)).collect::<Result<_>>()?;
        for new in made.into_iter().chain(varied.into_iter().flatten()) {
            // Two sweeps of one row may meet in a setting; rows that merely share a name are told later.
            if new.base.is_none() || seen.insert(new.name.clone()) {
                all.push(new);
            }
        }
    }
    Ok(all)
}
