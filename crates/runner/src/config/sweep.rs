//! The `sweep:` section of an experiment: rows that differ in some keys.

use super::overrides::set;
use super::row::{Row, Varied};
use crate::error::{all_in_order, invalid_input};
use crate::yaml::mistake;
use anyhow::Result;
use egsde_data::nearest::offer;
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::{Mapping, Value};
use std::collections::BTreeSet;

/// Varies rows over values of any of their keys (`lambda_s`, `start`, `experts.0.weight`, ...).
#[derive(Debug, Clone, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Names of the rows it varies; all when left out.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "row_names"
    )]
    pub rows: Vec<String>,
    /// Every combination of these values.
    #[serde(default, skip_serializing_if = "Mapping::is_empty")]
    pub grid: Mapping,
    /// Each of these settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<Mapping>,
}

/// Reads names of rows, which are text, whatever YAML takes them for.
fn row_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    Ok(values.iter().map(shown).collect())
}

/// Keys and the values they get, in order.
type Setting = Vec<(String, Value)>;

/// A value as it stands in a row's name.
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
fn grid_values(value: &Value) -> Vec<Value> {
    match value {
        Value::Sequence(values) => values.clone(),
        one => vec![one.clone()],
    }
}

fn key_text(value: &Value) -> Result<String> {
    match value.as_str() {
        Some(key) => Ok(key.to_string()),
        None => Err(invalid_input(format!("sweep: {value:?} is no key"))),
    }
}

/// The keys and values of one entry of a list.
fn list_setting(entry: &Mapping) -> Result<Setting> {
    entry
        .iter()
        .map(|(key, value)| Ok((key_text(key)?, value.clone())))
        .collect()
}

impl Sweep {
    fn applies_to(&self, row: &Row) -> bool {
        self.rows.is_empty() || self.rows.contains(&row.name)
    }

    /// How many rows it makes from one.
    pub fn combinations(&self) -> usize {
        let counts = self.grid.values().map(|value| grid_values(value).len());
        let grid = counts.fold(1, usize::saturating_mul);
        match (self.grid.is_empty(), self.list.len()) {
            (true, n) => n,
            (false, 0) => grid,
            (false, n) => grid.saturating_mul(n),
        }
    }

    /// Every setting it makes: the list's, each with every combination of the grid.
    fn settings(&self) -> Result<Vec<Setting>> {
        let mut settings: Vec<Setting> = if self.list.is_empty() {
            vec![Setting::new()]
        } else {
            self.list.iter().map(list_setting).collect::<Result<_>>()?
        };
        for (key, values) in &self.grid {
            let (key, values) = (key_text(key)?, grid_values(values));
            let mut combined = Vec::with_capacity(settings.len() * values.len());
            for setting in &settings {
                for value in &values {
                    let mut longer = setting.clone();
                    longer.push((key.clone(), value.clone()));
                    combined.push(longer);
                }
            }
            settings = combined;
        }
        Ok(settings)
    }

    /// The rows it makes from one, named by what differs.
    fn vary(&self, row: &Row, at: &str) -> Result<Vec<Row>> {
        let tree = serde_yaml::to_value(row)?;
        let settings = self.settings()?.into_par_iter();
        all_in_order(settings.map(|setting| varied_row(row, tree.clone(), setting, at)))
    }
}

/// A row with a setting put into its tree of values.
fn varied_row(row: &Row, mut tree: Value, setting: Setting, at: &str) -> Result<Row> {
    let mut varied = Varied::new();
    for (key, value) in setting {
        if let Err(error) = set(&mut tree, &key, value.clone()) {
            return Err(invalid_input(format!("{at}: sweep over {key}: {error:#}")));
        }
        varied.insert(key, shown(&value));
    }
    let suffix: String = varied
        .iter()
        .map(|(key, value)| format!(" {key}={value}"))
        .collect();
    tree["name"] = format!("{}{suffix}", row.name).into();
    let typed: Row = serde_yaml::from_value(tree).map_err(|error| {
        let message = mistake(&error);
        invalid_input(format!("{at}: sweep of row {:?}: {message}", row.name))
    })?;
    Ok(Row {
        varied,
        base: Some(row.name.clone()),
        ..typed
    })
}

/// How many rows there will be, without making them.
pub fn count(rows: &[Row], sweeps: &[Sweep]) -> usize {
    let mut total = 0usize;
    for row in rows {
        let own = sweeps
            .iter()
            .filter(|sweep| sweep.applies_to(row))
            .map(Sweep::combinations);
        total = total.saturating_add(own.reduce(usize::saturating_add).unwrap_or(1));
    }
    total
}

/// Sweeps must name rows there are, and vary over something.
fn check(rows: &[Row], sweeps: &[Sweep], at: &str) -> Result<()> {
    let names = || rows.iter().map(|row| row.name.as_str());
    for name in sweeps.iter().flat_map(|sweep| &sweep.rows) {
        if !names().any(|known| known == name) {
            let offer = offer(name, names());
            return Err(invalid_input(format!(
                "{at}: sweep names no row `{name}`{offer}"
            )));
        }
    }
    match sweeps.iter().find(|sweep| sweep.combinations() == 0) {
        Some(empty) => {
            let rows = empty.rows.join(", ");
            Err(invalid_input(format!(
                "{at}: a sweep over nothing ({rows}): give grid or list"
            )))
        }
        None => Ok(()),
    }
}

/// Rows that no sweep names stay; each sweep makes its own from the others, one after another.
///
/// # Errors
/// Invalid input: a sweep that names no row, varies nothing, or makes a row that cannot be.
pub fn expand(rows: &[Row], sweeps: &[Sweep], at: &str) -> Result<Vec<Row>> {
    check(rows, sweeps, at)?;
    let (mut expanded, mut seen) = (Vec::new(), BTreeSet::new());
    for row in rows {
        if !sweeps.iter().any(|sweep| sweep.applies_to(row)) {
            expanded.push(row.clone());
        }
        for sweep in sweeps.iter().filter(|sweep| sweep.applies_to(row)) {
            // Two sweeps of one row may meet in a setting.
            let varied = sweep.vary(row, at)?;
            expanded.extend(
                varied
                    .into_iter()
                    .filter(|new| seen.insert(new.name.clone())),
            );
        }
    }
    Ok(expanded)
}
