//! Checks of the names under which translations are stored.

use crate::error::invalid_input;
use anyhow::Result;

/// The reason why no translation can be stored under a name; none where one can. `images.sha256` is
/// UTF-8 text with one line per name, so a name needs to be UTF-8 without control characters. A
/// replacement character stands for bytes that are not UTF-8.
fn reason_not_storable(name: &str) -> Option<&'static str> {
    if name.chars().any(char::is_control) {
        Some("has a line end or another control character in its name")
    } else if name.contains(char::REPLACEMENT_CHARACTER) {
        Some("has a name that is not UTF-8")
    } else {
        None
    }
}

/// Refuses the name of a source image if no translation can be stored under it.
///
/// # Errors
/// Invalid input: the name has a control character or is not UTF-8.
pub fn check_storable_name(name: &str) -> Result<()> {
    match reason_not_storable(name) {
        Some(reason) => Err(invalid_input(format!(
            "the picture {name:?} {reason}: rename it"
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
            assert!(check_storable_name(name).is_ok(), "{name}");
        }
        let refused = |name: &str| check_storable_name(name).unwrap_err().to_string();
        assert!(refused("new\nline").contains("\"new\\nline\" has a line end"));
        assert!(refused("\u{fffd}").contains("not UTF-8"));
    }
}
