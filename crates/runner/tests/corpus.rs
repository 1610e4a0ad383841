//! What the fuzzer kept, and what once broke something, run through the same code without a fuzzer.

mod common;

use common::root;
use egsde_runner::strangers::{checkpoint, picture, spec, statistics};

fn all(target: &str, run: fn(&[u8])) {
    let mut count = 0;
    for folder in ["corpus", "regressions"] {
        for entry in std::fs::read_dir(root().join("fuzz").join(folder).join(target))
            .into_iter()
            .flatten()
        {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
    }
    assert!(count >= 10, "{target}: only {count} files");
}

#[test]
fn checkpoints() {
    all("checkpoint", checkpoint);
}

#[test]
fn specs() {
    all("spec", spec);
}

#[test]
fn statistics_files() {
    all("statistics", statistics);
}

#[test]
fn pictures() {
    all("picture", picture);
}
