//! Fuzz target: files of published statistics.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| egsde_runner::fuzzing::read_statistics(bytes));
