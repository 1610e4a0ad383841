//! Tests that need a program or a right which a machine may lack. `#[test]` cannot leave a test out
//! once it runs, so these test programs have a `main` of their own (`harness = false`).

use libtest_mimic::{Arguments, Completion, Trial};
use std::process::ExitCode;

/// A test by its name.
pub type NamedTest = (&'static str, fn());

/// Functions with their names.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        [$((stringify!($name), $name as fn())),+]
    };
}
pub(crate) use tests;

/// Runs tests as `cargo test` does. Where something is `missing`, they count as ignored, with the
/// reason.
pub fn run<const COUNT: usize>(missing: Option<String>, tests: [NamedTest; COUNT]) -> ExitCode {
    let trials = tests.map(|(name, test)| {
        let missing = missing.clone();
        Trial::ignorable_test(name, move || match missing {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => {
                test();
                Ok(Completion::Completed)
            }
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}
