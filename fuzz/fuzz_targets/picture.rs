#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| egsde_runner::strangers::picture(bytes));
