//! Changes to an experiment's tree of values: `--set` on the command line, and sweeps.

use crate::error::{OrInvalidInput, invalid_input};
use anyhow::Result;
use serde_yaml::Value;

/// The entry of a list that a path names: a row by its name, any entry by its number from 0.
fn list_entry<'a>(entries: &'a mut [Value], key: &str) -> Result<&'a mut Value> {
    let named = entries
        .iter()
        .position(|entry| entry.get("name").is_some_and(|name| name == key));
    let index = named
        .or_else(|| key.parse().ok())
        .filter(|index| *index < entries.len());
    match index {
        Some(index) => Ok(&mut entries[index]),
        None => Err(invalid_input(format!(
            "no row named {key:?}, nor an entry of that number"
        ))),
    }
}

/// Puts a value into a tree by its dotted path. A list of named rows is entered by name
/// (`methods.EGSDE.lambda_s`), any list by number from 0 (`experts.0.weight`).
///
/// # Errors
/// The path leads into nothing.
pub fn set(tree: &mut Value, path: &str, value: Value) -> Result<()> {
    let mut at = tree;
    for key in path.split('.') {
        at = match at {
            Value::Sequence(entries) => list_entry(entries, key)?,
            Value::Mapping(map) => map.entry(key.into()).or_insert(Value::Null),
            _ => return Err(invalid_input(format!("{key:?} has nothing inside"))),
        };
    }
    *at = value;
    Ok(())
}

/// Applies one `KEY=VALUE` of the command line.
///
/// # Errors
/// No `=`, a value that is not YAML, or a path that leads into nothing.
pub fn assign(tree: &mut Value, assignment: &str) -> Result<()> {
    let Some((path, value)) = assignment.split_once('=') else {
        return Err(invalid_input(format!(
            "--set {assignment:?}: expected KEY=VALUE"
        )));
    };
    let context = format!("--set {assignment}");
    let value: Value = serde_yaml::from_str(value).or_invalid_input(&context)?;
    set(tree, path, value).or_invalid_input(&context)
}
