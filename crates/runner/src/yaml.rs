//! Reading YAML so that a mistake is told with file, line and the nearest valid name.

use crate::error::{invalid_input, one_line};
use anyhow::Result;
use egsde_data::files::read_text;
use egsde_data::nearest::{offer, offer_path};
use serde::de::DeserializeOwned;
use std::path::Path;

/// What people write by hand is not larger.
const MAX_FILE: u64 = 4 << 20;

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
/// Invalid input: the file cannot be read, is too large or no text; the nearest name is offered.
pub fn yaml_text(path: &Path) -> Result<String> {
    read_text(path, MAX_FILE)
        .map_err(|error| invalid_input(format!("{error:#}{}", offer_path(path))))
}

/// Reads YAML from text; `path` names it in errors.
///
/// # Errors
/// As [`read_yaml`].
pub fn parse_yaml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    serde_yaml::from_str(text).map_err(|error| {
        let path = path.display();
        if text.lines().all(is_blank) {
            return invalid_input(format!("{path} is empty: no line of it has a key"));
        }
        let (place, message) = (place(&error, text), mistake(&error));
        invalid_input(format!("{path}{place}: {message}"))
    })
}

/// Whether a line of YAML says nothing.
fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Line and column of a mistake, as they follow the file's name.
fn place(error: &serde_yaml::Error, text: &str) -> String {
    // Where a key of the file stands twice, the reader knows only where the file begins.
    if let Some(line) = second_line(&error.to_string(), text) {
        return format!(":{line}:1");
    }
    let place = error.location();
    place.map_or(String::new(), |at| {
        format!(":{}:{}", at.line(), at.column())
    })
}

/// The 1-based line on which a key of the whole file that is given twice stands again; none where
/// the message is about something else.
fn second_line(message: &str, text: &str) -> Option<usize> {
    let key = message
        .strip_prefix("duplicate field `")?
        .split('`')
        .next()?;
    let begins = format!("{key}:");
    let mut lines = text.lines().enumerate();
    let mut next = || lines.find(|(_, line)| line.starts_with(&begins));
    next()?;
    next().map(|(index, _)| index + 1)
}

/// What is wrong, in words for people, on one line, without the place and with the nearest name.
pub fn mistake(error: &serde_yaml::Error) -> String {
    let message = one_line(&error.to_string());
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(text, _)| text);
    with_suggestion(&in_words(message))
}

/// What serde calls the type of a value, and what people call it.
const FOUND: [(&str, &str); 9] = [
    ("unit value", "nothing"),
    ("integer ", "the number "),
    ("floating point ", "the number "),
    ("boolean ", ""),
    ("string ", "the text "),
    ("sequence", "a list"),
    ("map", "keys with values"),
    ("null", "nothing"),
    ("Option value", "nothing"),
];

/// What serde calls the type that it expects, and what people call it.
const EXPECTED: [(&str, &str); 17] = [
    ("u64", "a whole number of at least 0"),
    ("u32", "a whole number of at least 0"),
    ("usize", "a whole number of at least 0"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("f32", "a number"),
    ("a boolean", "true or false"),
    ("a string", "text"),
    ("string or map", "a name, or keys with values"),
    ("path string", "a path"),
    ("a sequence", "a list"),
    ("a map", "keys with values"),
    ("struct ", "keys with values"),
    ("variant identifier", "a name"),
    ("an array of length ", "a list of this many values: "),
    ("unit", "nothing"),
    ("any YAML value", "a smaller one"),
];

/// The first entry that a text begins with, and the rest of the text.
fn begins_with<'a>(
    text: &'a str,
    table: &[(&str, &'static str)],
) -> Option<(&'static str, &'a str)> {
    table
        .iter()
        .find_map(|(word, plain)| Some((*plain, text.strip_prefix(word)?)))
}

/// Whether a text is a number that no number of the program can hold.
fn is_too_large(text: &str) -> bool {
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    has_digit && text.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// What was found, in words.
fn found_in_words(found: &str) -> String {
    let text = found.strip_prefix("string ").unwrap_or_default();
    let text = text.trim_matches('"');
    // Whole numbers that take more than 64 bits are told with the type that holds them.
    let wide = found
        .strip_prefix("integer `")
        .and_then(|rest| rest.split_once("` as "));
    let number = wide.map_or(text, |(number, _)| number);
    if wide.is_some() || is_too_large(number) {
        return format!("the number {number}, which is too large");
    }
    match begins_with(found, &FOUND) {
        Some((plain, rest)) => format!("{plain}{}", rest.trim_matches('`')),
        None => found.to_string(),
    }
}

/// What was expected, in words.
fn expected_in_words(expected: &str) -> String {
    match begins_with(expected, &EXPECTED) {
        Some((plain, rest)) if plain.ends_with(' ') => format!("{plain}{rest}"),
        Some((plain, _)) => plain.to_string(),
        None => expected.to_string(),
    }
}

/// A message that is not about a value's type, in words.
fn other_in_words(message: &str) -> String {
    if message.contains("more than one document") {
        return "a line --- begins a second document: keep one of them".into();
    }
    message
        .replace("duplicate field", "given twice: field")
        .replace("unknown variant", "unknown name")
}

/// A message of serde in words for people: no type of the program has a place in it.
pub fn in_words(message: &str) -> String {
    let marks = ["invalid type: ", "invalid value: "];
    let Some((at, mark)) = marks.iter().find_map(|m| Some((message.find(m)?, *m))) else {
        return other_in_words(message);
    };
    let (before, rest) = (&message[..at], &message[at + mark.len()..]);
    match rest.rsplit_once(", expected ") {
        Some((found, expected)) => format!(
            "{before}found {}, expected {}",
            found_in_words(found),
            expected_in_words(expected)
        ),
        None => message.to_string(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_data::nearest::nearest;
    use serde::Deserialize;

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

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its mistakes are looked at")]
    struct Keys {
        count: u64,
        share: f64,
        name: String,
        on: bool,
        list: Vec<u64>,
    }

    #[test]
    fn types_are_told_in_words() {
        let whole = "count: 1\nshare: 0.5\nname: a\non: true\nlist: [1]\n";
        let refused = |from: &str, to: &str| {
            let error = parse_yaml::<Keys>(&whole.replace(from, to), Path::new("k.yaml"));
            error.unwrap_err().to_string()
        };
        assert!(parse_yaml::<Keys>(whole, Path::new("k.yaml")).is_ok());
        for (from, to, expected) in [
            (
                "count: 1",
                "count: -1",
                "found the number -1, expected a whole number of at least 0",
            ),
            (
                "count: 1",
                "count: many",
                "found the text \"many\", expected a whole number of at least 0",
            ),
            (
                "share: 0.5",
                "share: [1]",
                "found a list, expected a number",
            ),
            (
                "name: a",
                "name: {a: 1}",
                "found keys with values, expected text",
            ),
            (
                "on: true",
                "on: 3",
                "found the number 3, expected true or false",
            ),
            (
                "list: [1]",
                "list: 1",
                "found the number 1, expected a list",
            ),
        ] {
            let error = refused(from, to);
            assert!(error.contains(expected), "{expected:?} not in {error:?}");
        }
        let too_large = "which is too large, expected a";
        assert!(refused("count: 1", "count: 99999999999999999999999").contains(too_large));
        assert!(refused("share: 0.5", "share: 1e400").contains(too_large));
        let tree = serde_yaml::from_str::<serde_yaml::Value>("99999999999999999999999");
        let error = mistake(&tree.unwrap_err());
        assert!(error.contains("which is too large"), "{error}");
        for nothing in ["", "# a comment\n\n"] {
            assert!(refused(whole, nothing).contains("k.yaml is empty"));
        }
        let twice = refused("on: true", "on: true\ncount: 2");
        assert!(
            twice.contains("k.yaml:5:1: given twice: field `count`"),
            "{twice}"
        );
        let two = refused(whole, &format!("{whole}---\n{whole}"));
        assert!(two.contains("second document"), "{two}");
        assert!(refused("share: 0.5\n", "").contains("missing field"));
        assert!(refused(whole, "5").contains("found the number 5, expected keys with values"));
    }
}
