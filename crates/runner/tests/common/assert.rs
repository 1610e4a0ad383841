//! What a command's end must be.
//!
//! These few lines stand in for `assert_cmd`: as a dependency of tests alone it asks
//! `regex-automata` for features that the program does not, and cargo would compile polars a second
//! time for the tests.

use std::process::{Command, Output};

/// The end of a command.
#[derive(Debug)]
pub struct Assert {
    output: Output,
    context: String,
}

impl Assert {
    /// The command must have exited with 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.code(0)
    }

    /// The command must have exited with this code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        let found = self.output.status.code();
        assert_eq!(found, Some(expected), "{}", self.description());
        self
    }

    /// Standard error must be this text.
    #[track_caller]
    pub fn stderr(self, expected: &str) -> Self {
        assert_eq!(String::from_utf8_lossy(&self.output.stderr), expected);
        self
    }

    /// What a failure is told with.
    pub fn append_context(mut self, name: &str, context: String) -> Self {
        self.context = format!("{name}: {context}\n");
        self
    }

    /// Everything that it printed.
    pub fn get_output(&self) -> &Output {
        &self.output
    }

    fn description(&self) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = &self.output;
        let (stdout, stderr) = (
            String::from_utf8_lossy(stdout),
            String::from_utf8_lossy(stderr),
        );
        let context = &self.context;
        format!("{context}{status}\nstandard output: {stdout}\nstandard error: {stderr}")
    }
}

/// Turns what ran, or will run, into an [`Assert`].
pub trait OutputAssertExt {
    /// Runs the command, if it has not run yet.
    fn assert(self) -> Assert;
}

impl OutputAssertExt for &mut Command {
    #[track_caller]
    fn assert(self) -> Assert {
        self.output().unwrap().assert()
    }
}

impl OutputAssertExt for Output {
    fn assert(self) -> Assert {
        Assert {
            output: self,
            context: String::new(),
        }
    }
}
