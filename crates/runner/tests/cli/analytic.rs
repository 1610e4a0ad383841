//! `variance: analytic`: refused without the measurement it needs, which `weights measure-noise`
//! adds.

use crate::common::project::TestProject;
use crate::common::{AssertText, assert_has};
use egsde_data::files::sha256_file;
use egsde_models::networks::NOISE_NORMS_KEY;
use egsde_models::weights::{read_safetensors, write_safetensors};
use tch::Kind;

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
const UNMEASURED: &str = "checkpoints/embedded/unmeasured.safetensors";
const MEASURED: &str = "checkpoints/embedded/measured.safetensors";
const TASK: &str = "configs/tasks/cat2dog-32.yaml";

/// Has the task name another file, by its hash, in place of one.
fn rename_network(project: &TestProject, from: &str, to: &str) {
    let [old, new] = [from, to].map(|file| sha256_file(&project.path(file)).unwrap());
    project.replace(TASK, &old, &new);
    project.replace(TASK, from, to);
}

/// Has the task name the network that ships without its measurement.
fn name_unmeasured(project: &TestProject) {
    let mut file = read_safetensors(&project.path(SHIPPED)).unwrap();
    file.metadata.remove(NOISE_NORMS_KEY).unwrap();
    write_safetensors(&project.path(UNMEASURED), &file, Kind::Half).unwrap();
    rename_network(project, SHIPPED, UNMEASURED);
}

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
    name_unmeasured(&project);
    let refused = project.run().code(2).error_text();
    assert_has(&refused, &["\"Analytic\"", "measure-noise"]);

    measure(&project, 0);
    assert_has(&measure(&project, 2), &["exists"]);

    rename_network(&project, UNMEASURED, MEASURED);
    project.run().success();
    let table = project.table();
    let l2 = |i: usize| table["rows"][i]["metrics"]["l2"]["mean"].as_f64().unwrap();
    assert_ne!(l2(0), l2(1), "the variances add different noise");
}
