//! Errors that tell who must act: exit code 1 "the answer is no", 2 "change something", 3 "it broke".

use std::fmt;

/// An error with its exit code. Anything that is not a `Problem` exits with 3.
#[derive(Debug)]
pub enum Problem {
    /// A comparison or check came out negative.
    No(String),
    /// The user must change something: what, where, how to mend it.
    User(String),
    /// A signal came; the exit code says which.
    Interrupted { text: String, code: u8 },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No(text) | Self::User(text) | Self::Interrupted { text, .. } => f.write_str(text),
        }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// A [`Problem::User`] as an `anyhow` error.
    pub fn user(text: impl Into<String>) -> anyhow::Error {
        Self::User(text.into()).into()
    }
}

/// Marks an error as the user's to mend, keeping its whole text on one line.
pub trait UserError<T> {
    /// Prefixes `context`, makes it exit with 2.
    fn user(self, context: impl fmt::Display) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> UserError<T> for Result<T, E> {
    fn user(self, context: impl fmt::Display) -> anyhow::Result<T> {
        self.map_err(|e| Problem::user(one_line(&format!("{context}: {:#}", e.into()))))
    }
}

/// Folds line ends, so that an error stays one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The exit code of an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Problem>() {
        Some(Problem::No(_)) => 1,
        Some(Problem::User(_)) => 2,
        Some(Problem::Interrupted { code, .. }) => *code,
        None => 3,
    }
}
