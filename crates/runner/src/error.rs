//! Errors that tell who must act. Each kind has its own exit code; any other error exits with 3
//! ("the program broke").

use std::fmt;

/// A comparison or check came out negative: exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CheckFailed(pub String);

/// The user must change something; the text says what, where and how to mend it: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidInput(pub String);

/// A signal ended the work; the exit code says which.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Interrupted {
    /// What is kept and how the work goes on.
    pub text: String,
    /// Exit code of the process: 128 and the signal's number.
    pub code: u8,
}

/// An [`InvalidInput`] as an `anyhow` error.
pub fn invalid_input(text: impl Into<String>) -> anyhow::Error {
    InvalidInput(text.into()).into()
}

/// A [`CheckFailed`] as an `anyhow` error.
pub fn check_failed(text: impl Into<String>) -> anyhow::Error {
    CheckFailed(text.into()).into()
}

/// Marks an error as the user's to mend, keeping its whole text on one line.
pub trait OrInvalidInput<T> {
    /// Prefixes `context` and makes the error an [`InvalidInput`].
    ///
    /// # Errors
    /// The error itself, marked.
    fn or_invalid_input(self, context: impl fmt::Display) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrInvalidInput<T> for Result<T, E> {
    fn or_invalid_input(self, context: impl fmt::Display) -> anyhow::Result<T> {
        self.map_err(|error| invalid_input(one_line(&format!("{context}: {:#}", error.into()))))
    }
}

/// Folds line ends, so that an error stays one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The exit code of an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<CheckFailed>() {
        1
    } else if error.is::<InvalidInput>() {
        2
    } else if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        interrupted.code
    } else {
        3
    }
}

/// Whether the error is one of the kinds above, which other jobs would meet too or which asked all
/// work to end.
pub fn ends_the_run(error: &anyhow::Error) -> bool {
    exit_code(error) != 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_exit_code() {
        let interrupted = Interrupted {
            text: "stop".into(),
            code: 130,
        }
        .into();
        let codes = [
            check_failed("no"),
            invalid_input("bad"),
            interrupted,
            anyhow::anyhow!("broken"),
        ]
        .map(|e| exit_code(&e));
        assert_eq!(codes, [1, 2, 130, 3]);
    }

    #[test]
    fn the_cause_stays_on_one_line() {
        let error = Err::<(), _>(anyhow::anyhow!("first\nsecond"))
            .or_invalid_input("file")
            .unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), exit_code(&error)),
            ("file: first second", 2)
        );
    }
}
