//! Names under which a translation can be stored.

use crate::error::invalid_input;
use anyhow::Result;

/// Why nothing can be stored under a name; none where it can. Names stand on lines of
/// `images.sha256`, and are stored as text.
fn problem(name: &str) -> Option<&'static str> {
    if name.chars().any(char::is_control) {
        Some("has a line end or another control character in its name")
    } else if name.contains(char::REPLACEMENT_CHARACTER) {
        Some("has a name that is not UTF-8")
    } else {
        None
    }
}

/// Refuses the name of a source picture under which nothing can be stored.
///
/// # Errors
/// Invalid input: what is wrong with it.
pub fn check_name(name: &str) -> Result<()> {
    match problem(name) {
        Some(why) => Err(invalid_input(format!(
            "the picture {name:?} {why}: rename it"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_stored_are_refused() {
        for name in ["a", "b c", "猫", "a|b"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let refused = |name: &str| check_name(name).unwrap_err().to_string();
        assert!(refused("new\nline").contains("\"new\\nline\" has a line end"));
        assert!(refused("\u{fffd}").contains("not UTF-8"));
    }
}
