//! The command line through its real binary, on the images and weights that ship.

#[path = "../common/mod.rs"]
mod common;

mod analytic;
mod before_running;
mod claims;
mod comparing;
mod console;
mod cuda;
mod generators;
mod help;
mod identity;
mod neighbours;
mod overview;
mod own_task;
mod previewing;
mod projects;
mod reading;
mod refusals;
mod released_generators;
mod running;
mod scoring;
mod tables;
mod targets;
mod translating;
mod weights;

use common::TestExperiment;
use std::sync::LazyLock;

/// Three methods at two seeds.
const TINY: &str = r#"name: tiny
title: Tiny
task: cat2dog-32
published: {table: "1", task: cat2dog}
seeds: [1, 2]
pictures: 5
methods:
  - {name: SDEdit, method: sdedit, steps: 10, start: 0.4}
  - {name: EGSDE, method: egsde, steps: 10, start: 0.4, lambda_s: 20, lambda_i: 0.3}
  - {name: ILVR, method: ilvr, steps: 5, ilvr_variance: fixedsmall}
"#;

/// The sources beside them, and differences to SDEdit.
const COMPARED: &str = r#"name: tiny
title: Tiny
task: cat2dog-32
published: {table: "1", task: cat2dog}
seeds: [1, 2]
pictures: 5
compare_to: SDEdit
methods:
  - {name: SDEdit, method: sdedit, steps: 10, start: 0.4}
  - {name: EGSDE, method: egsde, steps: 10, start: 0.4, lambda_s: 20, lambda_i: 0.3}
  - {name: ILVR, method: ilvr, steps: 5, ilvr_variance: fixedsmall}
  - {name: Cats, method: source}
"#;

/// Jobs of [`COMPARED`]: the sources need one seed.
const COMPARED_JOBS: usize = 3 * 2 + 1;

/// [`COMPARED`], run into its folder `r`. Tests only read it; they change copies.
static FINISHED: LazyLock<TestExperiment> = LazyLock::new(|| {
    let experiment = TestExperiment::shared("cli", COMPARED);
    experiment.run("r", &[]).success();
    // A table keeps the distances of its bootstrap draws: no test that reads writes them later.
    experiment.egsde("table", "r", &[]).success();
    experiment
});

/// What `egsde run` says when every job of [`COMPARED`] is done.
fn nothing_to_do() -> String {
    format!("nothing to do, all {COMPARED_JOBS} jobs are done")
}
