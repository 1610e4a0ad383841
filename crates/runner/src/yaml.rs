//! Reading YAML so that a mistake is told with file, line and the nearest valid name.

use crate::error::{invalid_input, one_line};
use anyhow::Result;
use egsde_data::files::read_text;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What people write by hand is not larger.
const MAX_FILE: u64 = 4 << 20;

/// Names at least this alike (Jaro-Winkler, 0 to 1) are offered for each other.
const ALIKE: f64 = 0.7;

/// Reads a YAML file into `T`.
///
/// # Errors
/// Invalid input: a mistake in the file, with its place.
pub fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse_yaml(&yaml_text(path)?, path)
}

/// Names of the YAML files of a folder, without `.yaml`, sorted; none when it cannot be read.
pub fn names_in(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Some(stem) = entry.file_name().to_string_lossy().strip_suffix(".yaml") {
            names.push(stem.to_string());
        }
    }
    names.sort();
    names
}

/// The text of a file that people write by hand.
///
/// # Errors
/// Invalid input: the file cannot be read, is too large or no text.
pub fn yaml_text(path: &Path) -> Result<String> {
    read_text(path, MAX_FILE).map_err(|error| invalid_input(format!("{error:#}")))
}

/// Reads YAML from text; `path` names it in errors.
///
/// # Errors
/// As [`read_yaml`].
pub fn parse_yaml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    serde_yaml::from_str(text).map_err(|error| {
        let place = error
            .location()
            .map(|at| format!(":{}:{}", at.line(), at.column()));
        let message = one_line(&error.to_string());
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(text, _)| text);
        let (path, place) = (path.display(), place.unwrap_or_default());
        invalid_input(format!("{path}{place}: {}", with_suggestion(message)))
    })
}

/// Adds "did you mean ...?" to serde's "unknown field `x`, expected one of `a`, `b`".
pub fn with_suggestion(message: &str) -> String {
    let Some(at) = message.find("unknown ") else {
        return message.to_string();
    };
    let mut quoted = message[at..].split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else {
        return message.to_string();
    };
    format!("{message}{}", offer(unknown, quoted))
}

/// "; did you mean `...`?", or nothing when no name is close.
pub fn offer<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> String {
    nearest(typed, names).map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

/// The valid name closest to what was typed, if one is close.
pub fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.map(|name| (strsim::jaro_winkler(typed, name), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > ALIKE).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let message = "methods[1]: unknown field `lamda_s`, expected one of `name`, `lambda_s`";
        let suggested = with_suggestion(message);
        assert!(
            suggested.ends_with("did you mean `lambda_s`?"),
            "{suggested}"
        );
        assert_eq!(nearest("zzz", ["start", "steps"].into_iter()), None);
    }
}
