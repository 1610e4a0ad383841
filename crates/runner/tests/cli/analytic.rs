//! `variance: analytic`: refused without the measurement it needs, which `weights measure-noise`
//! adds.

use crate::common::project::TestProject;
use crate::common::{AssertText, assert_has};
use egsde_data::files::sha256_file;

const EXPERIMENT: &str = r#"
name: analytic
title: "Analytic variance"
task: cat2dog-32
seeds: [1]
pictures: 2
batch_size: 2
methods:
  - {name: Small, method: sdedit, steps: 10, start: 0.4}
  - {name: Analytic, method: sdedit, steps: 10, start: 0.4, variance: analytic}
"#;

const SHIPPED: &str = "checkpoints/embedded/dog_diffusion.safetensors";
const MEASURED: &str = "checkpoints/embedded/measured.safetensors";

/// Measures the task's network with few evaluations; returns the exit's text.
fn measure(project: &TestProject, code: i32) -> String {
    let arguments = [
        "weights",
        "measure-noise",
        "--task",
        "cat2dog-32",
        "--pictures",
        "4",
        "--times",
        "5",
        MEASURED,
    ];
    project.egsde(&arguments).code(code).error_text()
}

#[test]
fn the_analytic_variance_needs_a_measured_network_and_runs_with_one() {
    let project = TestProject::embedded(EXPERIMENT);
    measure(&project, 0);
    assert_has(&measure(&project, 2), &["exists"]);

    let task = "configs/tasks/cat2dog-32.yaml";
    let hash = |file| sha256_file(&project.path(file)).unwrap();
    let (shipped, measured) = (hash(SHIPPED), hash(MEASURED));
    project.replace(task, SHIPPED, MEASURED);
    project.replace(task, &shipped, &measured);
    project.run().success();
    let table = project.table();
    let l2 = |i: usize| table["rows"][i]["metrics"]["l2"]["mean"].as_f64().unwrap();
    assert_ne!(l2(0), l2(1), "the variances add different noise");
}
