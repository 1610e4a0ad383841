//! Standard output, and the log on standard error. Either may lie on a full disk or belong to a
//! reader that has gone: output that cannot be written is an error, a log that cannot be written
//! ends nothing.
//!
//! `writeln!(stdout(), ...)?` and `writeln!(log(), ...)` take the place of `println!` and
//! `eprintln!`, which panic.

use crate::error::{ReaderGone, invalid_input};
use anyhow::Result;
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Standard output; see [`stdout`].
#[derive(Debug, Clone, Copy)]
pub struct Stdout;

/// The log; see [`log`].
#[derive(Debug, Clone, Copy)]
pub struct Log;

/// Standard output.
pub fn stdout() -> Stdout {
    Stdout
}

/// Standard error.
pub fn log() -> Log {
    Log
}

/// An error of standard output as one of ours.
fn output_error(error: &io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => invalid_input(format!("cannot write to standard output: {error}")),
    }
}

impl Stdout {
    /// What `write!` and `writeln!` call.
    ///
    /// # Errors
    /// [`ReaderGone`]; invalid input: the disk is full or the output was closed.
    pub fn write_fmt(self, text: Arguments<'_>) -> Result<()> {
        let written = io::stdout().write_fmt(text);
        written.map_err(|error| output_error(&error))
    }

    /// Writes what is held back, such as a line without its end.
    ///
    /// # Errors
    /// As [`Stdout::write_fmt`].
    pub fn flush(self) -> Result<()> {
        io::stdout().flush().map_err(|error| output_error(&error))
    }
}

impl Log {
    /// What `write!` and `writeln!` call. A line is written in one piece, so that those of several
    /// processes do not mix.
    pub fn write_fmt(self, text: Arguments<'_>) {
        let _ = io::stderr().write_all(text.to_string().as_bytes());
    }
}
