//! What can be known before the first network evaluation is told by `plan` and at the start of
//! `run`, and nothing is lost by finding it out.

use crate::common::project::TestProject;
use crate::common::{AssertText, TestExperiment, assert_has, edited, table_row};
use crate::{COMPARED, TINY};
use serde_json::Value;

/// A change of [`TINY`] that cannot mean anything, and what its refusal names.
struct Meaningless {
    from: &'static str,
    to: &'static str,
    parts: &'static [&'static str],
}

const MEANINGLESS: [Meaningless; 9] = [
    Meaningless {
        from: "ilvr_variance: fixedsmall",
        to: "ilvr_variance: fixedsmall, range_t: 20",
        parts: &["row \"ILVR\"", "range_t is 20", "0 to 3"],
    },
    Meaningless {
        from: "method: ilvr, steps: 5",
        to: "method: ilvr, steps: 1",
        parts: &["row \"ILVR\"", "ILVR needs at least 2"],
    },
    Meaningless {
        from: "method: ilvr, steps: 5, ilvr_variance: fixedsmall",
        to: "method: ilvr, steps: 5",
        parts: &["row \"ILVR\"", "set ilvr_variance to fixedsmall"],
    },
    Meaningless {
        from: "method: sdedit, steps: 10",
        to: "method: sdedit, repeats: 0",
        parts: &["e.yaml:8", "repeats (K) is 0"],
    },
    Meaningless {
        from: "lambda_i: 0.3",
        to: "experts: [{expert: class_probability, class: dog, \
             weight: {value: 3, from: 1, to: 0.9}}]",
        parts: &[
            "row \"EGSDE\"",
            "expert 1 counts at none of this row's 4 steps",
        ],
    },
    Meaningless {
        from: "lambda_i: 0.3",
        to: "similarity_i: cosine",
        parts: &[
            "row \"EGSDE\"",
            "similarity_i (without lambda_i) means nothing",
        ],
    },
    Meaningless {
        from: "lambda_i: 0.3",
        to: "experts: [{expert: domain_independent, weight: heavy}]",
        parts: &["row \"EGSDE\"", "a weight is a number"],
    },
    Meaningless {
        from: "pictures: 5",
        to: "pictures: 5000",
        parts: &["cat has only 1000"],
    },
    Meaningless {
        from: "seeds: [1, 2]",
        to: "seeds: [-1]",
        parts: &[
            "e.yaml:5",
            "found the number -1, expected a whole number of at least 0",
        ],
    },
];

#[test]
fn settings_that_mean_nothing_are_refused_by_plan_and_run() {
    for Meaningless { from, to, parts } in MEANINGLESS {
        let experiment = TestExperiment::new(&edited(TINY, from, to));
        for command in ["plan", "run"] {
            experiment.egsde(command, "r", &[]).refused(parts);
        }
        assert!(!experiment.path("r").exists(), "{to}");
    }
}

#[test]
fn a_single_picture_has_a_hole_for_fid() {
    let experiment = TestExperiment::new(COMPARED);
    let options = ["--set", "pictures=1", "--seeds", "1"];
    let note = "FID and KID have no value for a single picture.";
    assert_has(&experiment.egsde("plan", "r", &options).printed(), &[note]);
    let log = experiment.run("r", &options).success().error_text();
    assert_has(&log, &[note, "ran 4 jobs"]);
    let table = experiment.egsde("table", "r", &[&options[..], &["--json"]].concat());
    let table = table.printed_json();
    let metrics = &table_row(&table, "EGSDE")["metrics"];
    assert!(metrics["l2"]["mean"].is_f64() && metrics["ssim"]["mean"].is_f64());
    assert_eq!(metrics["fid"], Value::Null, "{metrics}");
    let table = experiment.egsde("table", "r", &options).printed();
    assert_has(&table, &["| Cats ", note]);
    experiment.egsde("report", "r", &options).success();
    assert_has(
        &experiment.run("r", &options).success().error_text(),
        &["nothing to do, all 4 jobs are done"],
    );
}

#[test]
fn rows_that_turn_out_equal_are_named() {
    let twin = "  - {name: Twin, method: sdedit, steps: 10, start: 0.4, solver: ancestral}\n";
    let experiment = TestExperiment::new(&format!("{TINY}{twin}"));
    let note = "Rows \"SDEdit\", \"Twin\" are equal once everything is filled in";
    assert_has(&experiment.egsde("plan", "r", &[]).printed(), &[note]);
    let log = experiment
        .run("r", &["--limit", "1"])
        .success()
        .error_text();
    assert_has(&log, &[note]);
    assert_has(
        &experiment.egsde("table", "r", &[]).code(1).output_text(),
        &[note],
    );
    let plan = TestExperiment::new(TINY).egsde("plan", "r", &[]).printed();
    assert!(!plan.contains("equal"), "{plan}");
}

/// A sweep whose rows have names longer than a file may have.
const LONG: &str = r#"name: long
title: Long
task: cat2dog-32
seeds: [1]
pictures: 2
methods:
  - name: EGSDE
    method: egsde
    steps: 5
    start: 0.4
    low_pass_factor: 4
    experts:
      - {expert: domain_specific, weight: 20}
      - {expert: domain_independent, weight: 0.3}
      - {expert: class_probability, class: dog, weight: 3}
sweep:
  - list:
      - {experts.0.weight: {value: 20, from: 0.4, to: 0.1}, experts.1.weight: {linear: [0, 0.6]},
         experts.2.weight: {value: 3, from: 0.3, to: 0.1}, experts.0.similarity: neg_l2,
         experts.1.similarity: cosine, source_noise: fresh,
         variance: fixedlarge, solver: ancestral, repeats: 1}
      - {experts.0.weight: {value: 20, from: 0.4, to: 0.1}, experts.1.weight: {linear: [0, 0.6]},
         experts.2.weight: {value: 3, from: 0.3, to: 0.1}, experts.0.similarity: neg_l2,
         experts.1.similarity: cosine, source_noise: fresh,
         variance: fixedlarge, solver: ancestral, repeats: 2}
"#;

/// Characters that seed and hash add to a job's name: `-s1-` and twelve digits.
const SUFFIX: usize = 16;

#[test]
fn long_names_of_a_sweep_are_cut_and_the_hash_tells_jobs_apart() {
    let experiment = TestExperiment::new(LONG);
    experiment.run("r", &[]).success();
    let jobs: Vec<String> = std::fs::read_dir(experiment.path("r/long"))
        .unwrap()
        .flatten()
        .map(|job| job.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    assert!(
        jobs.iter()
            .all(|job| job.len() < 255 && job.starts_with("egsde-experts.0."))
    );
    let table = experiment.table("r");
    for repeats in [1, 2] {
        let rows = table["rows"].as_array().unwrap();
        let end = format!("repeats={repeats}");
        let row = rows.iter().find(|row| {
            let method = row["method"].as_str().unwrap();
            method.len() + SUFFIX > 255 && method.contains(&end)
        });
        assert!(row.unwrap()["metrics"]["fid"]["mean"].is_f64(), "{table}");
    }
    experiment.verify("r").success();
    assert_has(
        &experiment.run("r", &[]).success().error_text(),
        &["nothing to do"],
    );
    let long = TestExperiment::new(&edited(
        TINY,
        "name: tiny",
        &format!("name: {}", "a".repeat(300)),
    ));
    long.egsde("plan", "r", &[])
        .refused(&["e.yaml:1", "300 characters", "at most 200"]);
}

#[test]
fn an_empty_part_of_the_jobs_is_told_apart_from_finished_ones() {
    let text = edited(TINY, "seeds: [1, 2]", "seeds: [1]");
    let experiment = TestExperiment::new(&text);
    let log = experiment
        .run("r", &["--shard", "4/4"])
        .success()
        .error_text();
    assert_has(
        &log,
        &["nothing to do in shard 4/4; 3 of 3 jobs have no result"],
    );
    let log = experiment
        .run("r", &["--limit", "0"])
        .success()
        .error_text();
    assert_has(
        &log,
        &["nothing to do (--limit 0); 3 of 3 jobs have no result"],
    );
    let log = experiment
        .run("r", &["--limit", "1"])
        .success()
        .error_text();
    assert_has(&log, &["ran 1 jobs", "2 of 3 jobs have no result yet"]);
    let log = experiment
        .run("r", &["--shard", "1/3"])
        .success()
        .error_text();
    assert_has(&log, &["nothing to do in shard 1/3; 2 of 3"]);
    let log = experiment.run("r", &[]).success().error_text();
    assert_has(&log, &["ran 2 jobs into"]);
    let log = experiment
        .run("r", &["--shard", "4/4"])
        .success()
        .error_text();
    assert_has(&log, &["nothing to do, all 3 jobs are done"]);
}

#[test]
fn translations_of_another_program_are_checked_before_anything_is_sampled() {
    let rows = "  - {name: Own, method: external, images: own}\n";
    let project = TestProject::embedded(&format!("{TINY}{rows}"));
    project
        .egsde(&["plan", "e.yaml"])
        .refused(&["cannot read", "own"]);
    let image = std::fs::read(project.path("datasets/embedded/test_cats.png")).unwrap();
    for name in ["cat-00000", "cat-00001"] {
        project.write(&format!("own/{name}.png"), &image);
    }
    let parts = [
        "row \"Own\"",
        "3 of 5 sources have no readable 32 x 32 translation",
        "first cat-00002",
    ];
    for command in ["plan", "run"] {
        project.egsde(&[command, "e.yaml"]).refused(&parts);
    }
    assert!(!project.path("runs").exists());
}

#[test]
fn advice_repeats_the_options_that_were_given() {
    let experiment = TestExperiment::new(TINY);
    let options = [
        "--set",
        "title=Two words",
        "--seeds",
        "1",
        "--batch-size",
        "2",
    ];
    let advice = "--set 'title=Two words' --seeds 1 --batch-size 2";
    let table = experiment
        .egsde("table", "r", &options)
        .code(1)
        .error_text();
    assert_has(&table, &["3 of 3 jobs have no result: egsde run", advice]);
    let report = experiment.egsde("report", "r", &options);
    report.refused(&["holds no finished job: egsde run", advice]);
    let out = experiment.path("study");
    let study = [
        &options[..],
        &["--rows", "EGSDE,SDEdit", "--out", out.to_str().unwrap()],
    ];
    let study = experiment.egsde("study make", "r", &study.concat());
    study.refused(&["row \"EGSDE\" has no finished job: egsde run", advice]);
}
