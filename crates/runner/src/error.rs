//! Errors that tell who must act. Each kind has its own exit code; any other error exits with 3
//! ("the program broke").

use rayon::prelude::*;
use signal_hook::consts::SIGPIPE;
use std::fmt;
use std::io;

/// Exit code when the reader of the output has gone (`| head`), as if SIGPIPE had ended the
/// process.
pub const READER_GONE: u8 = 128 + SIGPIPE as u8;

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

/// The reader of the output has gone: exit code 141, without a message.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output has gone")]
pub struct ReaderGone;

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

/// The values of results computed side by side, in their order.
///
/// # Errors
/// The first error in that order. Rayon's own collecting returns whichever is met first, so that
/// one mistake of several would be named today and another tomorrow.
pub fn all_in_order<T: Send>(
    results: impl IndexedParallelIterator<Item = anyhow::Result<T>>,
) -> anyhow::Result<Vec<T>> {
    results.collect::<Vec<_>>().into_iter().collect()
}

/// Folds line ends, so that an error stays one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text with control characters, which a terminal would obey, written as escapes.
pub fn without_controls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// The text without the numbers that the system gives its errors, ` (os error 2)`.
pub fn without_error_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut kept = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => kept += rest,
            _ => kept += &format!(" (os error {part}"),
        }
    }
    kept
}

/// The exit code of an error. A file or disk that refuses is for the user to mend, whoever met it.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match marked_code(error) {
        Some(code) => code,
        None if error.chain().any(|cause| cause.is::<io::Error>()) => 2,
        None => 3,
    }
}

/// The exit code of an error of the kinds above.
fn marked_code(error: &anyhow::Error) -> Option<u8> {
    if error.is::<CheckFailed>() {
        Some(1)
    } else if error.is::<InvalidInput>() {
        Some(2)
    } else if error.is::<ReaderGone>() {
        Some(READER_GONE)
    } else {
        error
            .downcast_ref::<Interrupted>()
            .map(|interrupted| interrupted.code)
    }
}

/// Whether the error is one of the kinds above, which other jobs would meet too or which asked all
/// work to end.
pub fn ends_the_run(error: &anyhow::Error) -> bool {
    marked_code(error).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn each_kind_has_its_exit_code() {
        let interrupted = Interrupted {
            text: "stop".into(),
            code: 130,
        }
        .into();
        let refused = io::Error::from(io::ErrorKind::StorageFull);
        let codes = [
            check_failed("no"),
            invalid_input("bad"),
            interrupted,
            ReaderGone.into(),
            anyhow::Error::new(refused).context("cannot write"),
            anyhow::anyhow!("broken"),
        ]
        .map(|e| exit_code(&e));
        assert_eq!(codes, [1, 2, 130, 141, 2, 3]);
    }

    #[test]
    fn of_errors_met_side_by_side_the_first_in_order_is_told() {
        let met_first = std::sync::Barrier::new(2);
        let results = (0..2usize).into_par_iter().with_max_len(1).map(|i| {
            met_first.wait();
            // The first waits until the second has failed.
            std::thread::sleep(std::time::Duration::from_millis(50 * (1 - i as u64)));
            Err::<(), _>(anyhow::anyhow!("{i}"))
        });
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let error = pool.unwrap().install(|| all_in_order(results)).unwrap_err();
        assert_eq!(error.to_string(), "0");
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

    #[test]
    fn control_characters_are_told_as_escapes() {
        assert_eq!(
            without_controls("caf\u{e9}\u{1b}[31m\n"),
            "caf\u{e9}\\u{1b}[31m\\n"
        );
    }

    #[test]
    fn the_systems_error_numbers_are_left_out() {
        let error = std::fs::read("/no/such").context("cannot read /no/such");
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.ends_with("(os error 2)"), "{text}");
        assert_eq!(
            without_error_numbers(&text),
            "cannot read /no/such: No such file or directory"
        );
        assert_eq!(
            without_error_numbers("a (os error x) b"),
            "a (os error x) b"
        );
    }
}
