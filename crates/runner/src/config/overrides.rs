//! Changes to an experiment's tree of values: `--set` and its short forms on the command line, and
//! sweeps.

use crate::error::{OrInvalidInput, invalid_input};
use crate::yaml::{mistake, read_yaml};
use anyhow::Result;
use egsde_data::nearest::offer;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};
use std::path::Path;

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// As the command line gave it, for errors: `--set pictures=4`, `--seeds 1,2`.
    pub typed: String,
    /// Dotted path of the key.
    pub key: String,
    /// The value as YAML.
    pub value: String,
}

impl Assignment {
    /// What `--set KEY=VALUE` asks for.
    ///
    /// # Errors
    /// Invalid input: there is no `=`.
    pub fn from_set(text: &str) -> Result<Self> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(invalid_input(format!("--set {text:?}: expected KEY=VALUE")));
        };
        Ok(Self {
            typed: format!("--set {text}"),
            key: key.trim().into(),
            value: value.into(),
        })
    }

    /// Whether the key holds text, whatever YAML takes its value for.
    fn is_text(&self) -> bool {
        const KEYS: [&str; 7] = [
            "name",
            "title",
            "task",
            "compare_to",
            "runs_dir",
            "published.table",
            "published.task",
        ];
        let of_row = self.key.starts_with("methods.")
            && (self.key.ends_with(".name") || self.key.ends_with(".images"));
        of_row || KEYS.contains(&self.key.as_str())
    }

    /// The value: text stays as it was typed, and anything else is YAML.
    fn parse_value(&self) -> Result<Value> {
        let parsed = serde_yaml::from_str::<Value>(&self.value);
        match (self.is_text(), parsed) {
            (_, Ok(value @ (Value::String(_) | Value::Null))) => Ok(value),
            (true, _) => Ok(Value::String(self.value.trim().into())),
            (false, parsed) => parsed
                .map_err(|error| invalid_input(format!("{}: {}", self.typed, mistake(&error)))),
        }
    }

    /// Puts the value into a tree.
    ///
    /// # Errors
    /// Invalid input: a value that is not YAML, or a path that leads into nothing.
    pub fn apply(&self, tree: &mut Value) -> Result<()> {
        let value = self.parse_value()?;
        set(tree, &self.key, value).or_invalid_input(&self.typed)
    }
}

/// The text of an entry's `name`.
fn entry_name(entry: &Value) -> Option<&str> {
    entry.get("name")?.as_str()
}

/// Whether a path begins with a name, which may hold points itself; the rest of the path.
fn strip_name<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(name)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('.')
    }
}

/// Which entry of a list a path begins with, and the rest of the path: a row by its name, any entry
/// by its number from 0.
fn list_entry<'a>(entries: &[Value], path: &'a str) -> Result<(usize, &'a str)> {
    let named = entries.iter().enumerate().filter_map(|(index, entry)| {
        let rest = strip_name(path, entry_name(entry)?)?;
        Some((index, rest))
    });
    // Of two names that fit, the longer one is meant.
    if let Some(found) = named.min_by_key(|(_, rest)| rest.len()) {
        return Ok(found);
    }
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    let number = key.parse().ok().filter(|index| *index < entries.len());
    if let Some(index) = number {
        return Ok((index, rest));
    }
    let names: Vec<&str> = entries.iter().filter_map(entry_name).collect();
    let offer = offer(key, names.iter().copied());
    Err(invalid_input(match (names.is_empty(), entries.len()) {
        (false, _) => format!(
            "no row named {key:?}; there are {}{offer}",
            names.join(", ")
        ),
        (true, 0) => format!("no entry {key:?}: the list is empty"),
        (true, count) => format!("no entry {key:?}: the list has 0 to {}", count - 1),
    }))
}

/// Puts a value into a tree by its dotted path. A list of named rows is entered by name
/// (`methods.EGSDE.lambda_s`), any list by number from 0 (`experts.0.weight`). Keys that are not
/// there yet are made.
///
/// # Errors
/// Invalid input: the path leads into nothing.
pub fn set(tree: &mut Value, path: &str, value: Value) -> Result<()> {
    let (mut at, mut path) = (tree, path);
    while !path.is_empty() {
        if at.is_null() {
            *at = Value::Mapping(Mapping::new());
        }
        match at {
            Value::Sequence(entries) => {
                let (index, rest) = list_entry(entries, path)?;
                at = &mut entries[index];
                path = rest;
            }
            Value::Mapping(map) => {
                let (key, rest) = path.split_once('.').unwrap_or((path, ""));
                at = map.entry(key.into()).or_insert(Value::Null);
                path = rest;
            }
            _ => {
                return Err(invalid_input(format!(
                    "{path:?} cannot be set: there is a single value in its place"
                )));
            }
        }
    }
    *at = value;
    Ok(())
}

/// Puts changes into a tree, in order.
///
/// # Errors
/// Invalid input: as [`Assignment::apply`].
pub fn apply_all(changes: &[Assignment], tree: &mut Value) -> Result<()> {
    for change in changes {
        change.apply(tree)?;
    }
    Ok(())
}

/// Reads a YAML file and applies changes in order.
///
/// # Errors
/// Invalid input: a mistake in the file or a change.
pub fn read_with_changes<T: DeserializeOwned>(path: &Path, changes: &[Assignment]) -> Result<T> {
    if changes.is_empty() {
        return read_yaml(path);
    }
    let mut tree: Value = read_yaml(path)?;
    apply_all(changes, &mut tree)?;
    serde_yaml::from_value(tree).map_err(|error| {
        let typed: Vec<&str> = changes.iter().map(|change| change.typed.as_str()).collect();
        invalid_input(format!(
            "{} with {}: {}",
            path.display(),
            typed.join(" "),
            mistake(&error)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "pictures: 4\nmethods: [{name: A}, {name: A v1.5, steps: 3}]\n";

    /// The tree after a change, as YAML.
    fn changed(set: &str) -> Result<String> {
        let mut tree: Value = serde_yaml::from_str(TREE)?;
        Assignment::from_set(set)?.apply(&mut tree)?;
        Ok(serde_yaml::to_string(&tree)?)
    }

    #[test]
    fn a_path_reaches_rows_by_name_and_makes_keys_that_are_not_there() {
        let has = |set: &str, part: &str| {
            let text = changed(set).unwrap();
            assert!(text.contains(part), "{part:?} not in {text:?}");
        };
        has("methods.A v1.5.steps=9", "steps: 9");
        has("methods.0.start=0.5", "start: 0.5");
        has("published.table=1", "table: '1'");
        has("name=1.10", "name: '1.10'");
        has("title=Cats: and dogs", "title: 'Cats: and dogs'");
        has("compare_to=null", "compare_to: null");
    }

    #[test]
    fn a_path_that_leads_into_nothing_is_told_with_the_nearest_name() {
        let refused = |set: &str| format!("{:#}", changed(set).unwrap_err());
        let row = refused("methods.a.start=1");
        assert!(
            row.contains("no row named \"a\"; there are A, A v1.5"),
            "{row}"
        );
        assert!(row.contains("did you mean `A`?"), "{row}");
        assert!(refused("pictures.x=1").contains("single value"));
        assert!(refused("pictures").contains("KEY=VALUE"));
        let large = refused("pictures=99999999999999999999999");
        assert!(large.contains("999, which is too large"), "{large}");
    }
}
