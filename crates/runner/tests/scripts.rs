//! The scripts that guard the layers and break the program on purpose know the code as it is.

mod common;

use common::{Assert, AssertText, OutputAssertExt, TestExperiment, assert_has, checkout};
use std::process::Command;

fn script(name: &str, arguments: &[&str]) -> Assert {
    let path = checkout().join("scripts").join(name);
    Command::new("python3")
        .arg(path)
        .args(arguments)
        .current_dir(checkout())
        .assert()
}

#[test]
fn nothing_imports_upwards() {
    script("check_layers.py", &[]).success();
}

#[test]
fn the_check_of_the_layers_notices_what_it_checks() {
    script("check_layers.py", &["--self-test"]).success();
}

#[test]
fn every_mutation_finds_its_place_in_the_code() {
    script("mutate.py", &["--list-places"]).success();
}

const STEPS: &str = "
name: steps
title: Steps
task: cat2dog-32
seeds: [1]
pictures: 2
batch_size: 2
methods:
  - {name: SDEdit, method: sdedit, steps: 10, start: 0.2}
";

#[test]
fn the_gpu_kit_reads_what_a_job_tells_today() {
    let experiment = TestExperiment::new(STEPS);
    for (tag, steps) in [("low", "10"), ("high", "20"), ("again", "20")] {
        let change = format!("methods.SDEdit.steps={steps}");
        let runs = format!("runs_f32_2_{tag}");
        experiment.run(&runs, &["--set", &change]).success();
    }
    let root = experiment.path("");
    let root = root.to_str().unwrap();
    let table = script("gpu/summarize.py", &["steps", root, "2", "2", "4"]).printed();
    let parts = [
        "f32 batch 2 sdedit: ",
        " ms per step",
        "a second run: the same images",
    ];
    assert_has(&table, &parts);
    assert!(!table.contains("nan"), "{table}");
}
