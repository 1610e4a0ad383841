//! Reading YAML so that a mistake is told with file, line and the nearest valid name.

use crate::error::{Problem, one_line};
use anyhow::Result;
use egsde_models::files::read_text;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What people write by hand is not larger.
const MAX_FILE: u64 = 4 << 20;

/// Reads a YAML file into `T`. Errors exit with 2.
pub fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse_yaml(&yaml_text(path)?, path)
}

/// Names of the YAML files of a folder, without `.yaml`, sorted; none when it cannot be read.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let stem = |e: std::fs::DirEntry| {
        e.file_name()
            .to_string_lossy()
            .strip_suffix(".yaml")
            .map(String::from)
    };
    let mut names: Vec<String> = entries.filter_map(stem).collect();
    names.sort();
    names
}

/// The text of a file people write by hand. Errors exit with 2.
pub fn yaml_text(path: &Path) -> Result<String> {
    read_text(path, MAX_FILE).map_err(|e| Problem::user(format!("{e:#}")))
}

/// The same from text already read.
pub fn parse_yaml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    serde_yaml::from_str(text).map_err(|error| {
        let place = error
            .location()
            .map_or(String::new(), |l| format!(":{}:{}", l.line(), l.column()));
        let message = one_line(&error.to_string());
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(m, _)| m);
        Problem::user(format!(
            "{}{place}: {}",
            path.display(),
            with_suggestion(message)
        ))
    })
}

/// Adds "did you mean ...?" to serde's "unknown field `x`, expected one of `a`, `b`".
pub fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (Some(unknown), true) = (quoted.next(), message.contains("unknown ")) else {
        return message.to_string();
    };
    format!("{message}{}", offer(unknown, quoted))
}

/// "; did you mean `...`?", or nothing when no name is close.
pub fn offer<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> String {
    nearest(typed, names).map_or(String::new(), |n| format!("; did you mean `{n}`?"))
}

/// The valid name closest to what was typed, if any is close.
pub fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.map(|name| (strsim::jaro_winkler(typed, name), name));
    scored
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.7)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let said = with_suggestion(
            "methods[1]: unknown field `lamda_s`, expected one of `name`, `lambda_s`, `lambda_i`",
        );
        assert!(said.ends_with("did you mean `lambda_s`?"), "{said}");
        assert_eq!(nearest("zzz", ["start", "steps"].into_iter()), None);
    }
}
