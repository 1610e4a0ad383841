//! How paths are read, on the command line and in files alike: `~` is the home folder, `$NAME` and
//! `${NAME}` are environment variables. A path that exists as it is written is left as it is.

use anyhow::{Result, bail};
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Whether a path has anything that is replaced.
fn is_short(text: &str) -> bool {
    text == "~" || text.starts_with("~/") || text.contains('$')
}

/// The value of an environment variable.
fn variable(name: &str) -> Result<String> {
    match std::env::var(name) {
        Ok(value) => Ok(value),
        Err(_) => bail!("the variable {name} is not set"),
    }
}

/// Whether a character may stand in a variable's name.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The name of a variable at the beginning of `rest`, which follows a `$`, and what comes after it;
/// none where the `$` stands for itself.
fn split_name(rest: &str) -> Option<(&str, &str)> {
    if let Some(braced) = rest.strip_prefix('{') {
        let (name, after) = braced.split_once('}')?;
        return (!name.is_empty() && name.chars().all(is_name)).then_some((name, after));
    }
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let begins = rest.chars().next().is_some_and(|c| !c.is_ascii_digit());
    (end > 0 && begins).then(|| rest.split_at(end))
}

/// The text with `~` and variables replaced.
fn replaced(text: &str) -> Result<String> {
    let mut rest = text;
    let mut path = String::new();
    if text == "~" || text.starts_with("~/") {
        path = variable("HOME")?;
        rest = &text[1..];
    }
    while let Some(at) = rest.find('$') {
        path += &rest[..at];
        rest = &rest[at + 1..];
        match split_name(rest) {
            Some((name, after)) => {
                path += &variable(name)?;
                rest = after;
            }
            None => path.push('$'),
        }
    }
    Ok(path + rest)
}

/// A path with `~` and environment variables replaced, taken from `folder` where it is relative.
///
/// # Errors
/// A variable that is not set, by name; a path of no characters, which in a shell is mostly a
/// variable that is not set.
pub fn expand(path: &Path, folder: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        bail!("the path is empty: name a file or folder (. is the working folder)");
    }
    let literal = folder.join(path);
    match path.to_str() {
        Some(text) if is_short(text) && !literal.exists() => Ok(folder.join(replaced(text)?)),
        _ => Ok(literal),
    }
}

/// A path of the command line, taken from the working folder.
fn expand_argument(path: OsString) -> Result<PathBuf, String> {
    expand(Path::new(&path), Path::new("")).map_err(|error| format!("{error:#}"))
}

/// Reads the paths of the command line.
pub fn path_parser() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(expand_argument)
}

/// Most characters of a name that becomes a file's or a folder's: file systems take 255, and such a
/// name may be added to.
const LONGEST_NAME: usize = 200;

/// Whether a character may stand in a name that becomes a file's or a folder's.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Why a name cannot become that of a file or folder; none where it can. `what` says whose name it
/// is: "a folder's".
pub fn name_problem(name: &str, what: &str) -> Option<String> {
    if name.len() > LONGEST_NAME {
        let count = name.len();
        return Some(format!(
            "the name has {count} characters: {what} name has at most {LONGEST_NAME}"
        ));
    }
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Some(format!(
            "{name:?} cannot be {what} name: use letters, digits, - and _ and, but for its \
             beginning, points"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String> {
        let path = expand(Path::new(text), Path::new("/project"))?;
        Ok(path.display().to_string())
    }

    #[test]
    fn home_and_variables_are_replaced_and_other_signs_stay() {
        let home = std::env::var("HOME").unwrap();
        assert_eq!(expanded("~/runs").unwrap(), format!("{home}/runs"));
        assert_eq!(expanded("$HOME/a").unwrap(), format!("{home}/a"));
        assert_eq!(
            expanded("x/${HOME}b").unwrap(),
            format!("/project/x/{home}b")
        );
        for text in ["runs", "~user/a", "a~", "5$", "a$5", "a$", "${", "${}x"] {
            assert_eq!(expanded(text).unwrap(), format!("/project/{text}"));
        }
        let error = expanded("$EGSDE_NO_SUCH/a").unwrap_err().to_string();
        assert_eq!(error, "the variable EGSDE_NO_SUCH is not set");
        assert!(expanded("").unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_name_that_leaves_its_folder_or_hides_is_refused() {
        for name in ["table1", "a.b", "-x_2"] {
            assert_eq!(name_problem(name, "a folder's"), None, "{name}");
        }
        let long = "a".repeat(LONGEST_NAME + 1);
        for name in ["", ".a", "..", "a/b", "a b", "é", &long] {
            assert!(name_problem(name, "a folder's").is_some(), "{name}");
        }
    }

    #[test]
    fn a_path_that_exists_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let strange = folder.path().join("$EGSDE_NO_SUCH");
        std::fs::create_dir(&strange).unwrap();
        let found = expand(Path::new("$EGSDE_NO_SUCH"), folder.path());
        assert_eq!(found.unwrap(), strange);
    }
}
