//! Fuzz target: weight files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| egsde_runner::fuzzing::read_checkpoint(bytes));
