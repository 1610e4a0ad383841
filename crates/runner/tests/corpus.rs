//! What the fuzzer kept, and what once broke something, through the same code without a fuzzer.

mod common;

use common::{checkout, files_below};
use egsde_runner::fuzzing::{read_checkpoint, read_experiment, read_image, read_statistics};

/// Runs every stored input of a target.
fn run_stored(target: &str, run: fn(&[u8])) {
    let mut count = 0;
    for folder in ["corpus", "regressions"] {
        for file in files_below(&checkout().join("fuzz").join(folder).join(target), "") {
            run(&file.bytes);
            count += 1;
        }
    }
    assert!(count >= 10, "{target}: only {count} files");
}

#[test]
fn stored_checkpoints_are_read_or_refused() {
    run_stored("checkpoint", read_checkpoint);
}

#[test]
fn stored_experiment_files_are_read_or_refused() {
    run_stored("experiment", read_experiment);
}

#[test]
fn stored_statistics_files_are_read_or_refused() {
    run_stored("statistics", read_statistics);
}

#[test]
fn stored_images_are_read_or_refused() {
    run_stored("image", read_image);
}
