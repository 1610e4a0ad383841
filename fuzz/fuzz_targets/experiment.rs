//! Fuzz target: experiment files and `--set` assignments.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| egsde_runner::fuzzing::read_experiment(bytes));
