//! `egsde run`, `table` and `report`: from an experiment to its numbers, and nothing twice.

use crate::common::images::{image_states, largest_difference};
use crate::common::{
    AssertText, OutputAssertExt, RunFile, TestExperiment, assert_has, assert_same_runs, checkout,
    edited, egsde_in, table_mean, table_row,
};
use crate::{COMPARED, COMPARED_JOBS, FINISHED, TINY, nothing_to_do};
use std::process::Stdio;

#[test]
fn an_experiment_becomes_a_table_and_runs_only_once() {
    // Before a run there is no table.
    TestExperiment::new(TINY).egsde("table", "r", &[]).code(1);
    let table = FINISHED.table("r");
    let rows = table["rows"].as_array().unwrap();
    let published = table["published"]["rows"].as_array().unwrap();
    assert_eq!(
        (table["experiment"].as_str(), rows.len(), published.len()),
        (Some("tiny"), 4, 14)
    );
    for method in ["SDEdit", "EGSDE", "ILVR"] {
        for metric in ["fid", "l2", "psnr", "ssim"] {
            let cell = &table_row(&table, method)["metrics"][metric];
            let is_finite = cell["mean"].as_f64().is_some_and(f64::is_finite);
            assert!(
                is_finite && cell["std"].is_f64() && cell["n"] == 2,
                "{method} {metric}: {cell}"
            );
        }
    }
    assert_eq!(
        table_row(&table, "Cats")["metrics"]["l2"]["n"],
        1,
        "the sources need one seed"
    );
    let before = image_states(&FINISHED.path("r"));
    assert_has(
        &FINISHED.run("r", &[]).success().error_text(),
        &[&nothing_to_do()],
    );
    assert_eq!(image_states(&FINISHED.path("r")), before);
}

/// What `egsde run --report` printed and left.
#[derive(Debug, Clone, PartialEq)]
struct Reported {
    table: String,
    /// Whether it found every job done.
    ran_nothing: bool,
    /// Whether it found the report as it would be.
    drew_nothing: bool,
    plot: Vec<RunFile>,
}

fn run_with_report(experiment: &TestExperiment) -> Reported {
    let ended = experiment.run("r", &["--report"]).success();
    let log = ended.error_text();
    Reported {
        table: ended.output_text(),
        ran_nothing: log.contains(&nothing_to_do()),
        drew_nothing: log.contains("the report is up to date"),
        plot: experiment.files("r", "tradeoff.png"),
    }
}

#[test]
fn a_second_run_draws_and_computes_nothing_and_what_is_damaged_comes_back() {
    let experiment = FINISHED.copy();
    let first = run_with_report(&experiment);
    assert!(first.table.contains("Differences to SDEdit"), "{first:?}");
    assert!(!first.drew_nothing && first.plot.len() == 1, "{first:?}");
    assert_eq!(experiment.egsde("table", "r", &[]).printed(), first.table);
    let kept = experiment.files("r", "fid_bootstrap.json");
    assert_eq!(kept.len(), COMPARED_JOBS);
    let idle = Reported {
        ran_nothing: true,
        drew_nothing: true,
        ..first
    };
    assert_eq!(run_with_report(&experiment), idle);
    // A plot that was lost is drawn again.
    std::fs::write(experiment.path("r/tiny/report/tradeoff.png"), "").unwrap();
    let redrawn = Reported {
        drew_nothing: false,
        ..idle.clone()
    };
    assert_eq!(run_with_report(&experiment), redrawn);
    // Distances that were damaged are computed again, to the same table.
    for file in &kept {
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        let other_number = text.replacen("\"values\":[", "\"values\":[9", 1);
        std::fs::write(experiment.path("r").join(&file.name), other_number).unwrap();
    }
    assert_ne!(experiment.files("r", "fid_bootstrap.json"), kept);
    assert_eq!(run_with_report(&experiment), idle);
    assert_eq!(experiment.files("r", "fid_bootstrap.json"), kept);
    // Another row to compare with is another report.
    let ended = experiment
        .run("r", &["--report", "--set", "compare_to=EGSDE"])
        .success();
    assert!(
        !ended.error_text().contains("up to date"),
        "{}",
        ended.error_text()
    );
    assert!(
        ended.output_text().contains("Differences to EGSDE"),
        "{}",
        ended.output_text()
    );
}

#[test]
fn a_reader_that_goes_ends_a_command_quietly() {
    let mut child = egsde_in(&checkout())
        .args(["plan", "experiments/ci.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child
        .wait_with_output()
        .unwrap()
        .assert()
        .code(141)
        .stderr("");
}

#[test]
fn images_do_not_depend_on_save_every_or_interruption() {
    let experiment = FINISHED.copy();
    let images = experiment.files("r", ".png");
    assert_eq!(images.len(), COMPARED_JOBS * 5);
    experiment.run("other", &["--save-every", "2"]).success();
    assert_same_runs(&experiment, "r", "other");
    // A run that lost images and scores makes the same ones again.
    for file in images.iter().step_by(3) {
        std::fs::remove_file(experiment.path("other").join(&file.name)).unwrap();
    }
    for file in experiment.files("other", "scores.json") {
        std::fs::remove_file(experiment.path("other").join(&file.name)).unwrap();
    }
    experiment.run("other", &["--save-every", "3"]).success();
    assert_same_runs(&experiment, "r", "other");
    experiment
        .run("other", &["--save-every", "0"])
        .refused(&["--save-every"]);
    experiment
        .run("other", &["--workers", "few"])
        .refused(&["--workers", "auto or a whole number"]);
}

#[test]
fn the_batch_of_the_networks_is_an_option_of_every_command() {
    let experiment = TestExperiment::new(&edited(TINY, "seeds: [1, 2]", "seeds: [1]"));
    experiment.run("r", &["--batch-size", "2"]).success();
    for scores in experiment.scores("r") {
        assert_eq!(scores["sampling"]["batch_size"], 2, "{scores}");
    }
    experiment
        .egsde("table", "r", &["--batch-size", "2"])
        .success();
    // Another batch rounds otherwise and therefore is another job.
    experiment.egsde("table", "r", &[]).code(1);
    assert_has(
        &experiment.egsde("plan", "r", &[]).printed(),
        &["0 of 3 jobs done"],
    );
    let plan = experiment
        .egsde("plan", "r", &["--batch-size", "2"])
        .printed();
    assert_has(&plan, &["3 of 3 jobs done"]);
    experiment
        .egsde("plan", "r", &["--batch-size", "0"])
        .refused(&["batch"]);
    // The images differ by that rounding only.
    let planned = FINISHED.files("r", ".png").into_iter();
    let planned: Vec<RunFile> = planned
        .filter(|f| f.name.contains("-s1-") && !f.name.contains("cats-"))
        .collect();
    let smaller = experiment.files("r", ".png");
    assert_eq!((planned.len(), smaller.len()), (15, 15));
    let renamed: Vec<RunFile> = smaller
        .into_iter()
        .zip(&planned)
        .map(|(file, like)| RunFile {
            name: like.name.clone(),
            bytes: file.bytes,
        })
        .collect();
    assert!(largest_difference(&planned, &renamed) <= 1);
}

#[test]
fn the_report_has_tables_plots_and_images() {
    let folder = tempfile::tempdir().unwrap();
    FINISHED
        .egsde("report", "r", &["--out", folder.path().to_str().unwrap()])
        .success();
    for name in ["table.md", "table.csv", "table.tex", "tradeoff.svg"] {
        assert!(
            folder.path().join(name).metadata().unwrap().len() > 100,
            "{name} is empty"
        );
    }
    for name in ["tradeoff.png", "grid.png"] {
        let image = image::open(folder.path().join(name)).unwrap().into_rgb8();
        let is_blank = image.pixels().all(|pixel| pixel.0 == [255; 3]);
        assert!(image.width() > 300 && !is_blank, "{name} is empty");
    }
    let page = std::fs::read_to_string(folder.path().join("index.html")).unwrap();
    assert_has(&page, &["data-value=\"Cats\"", "alt=\"EGSDE: "]);
    assert!(!page.contains("alt=\"Cats: "), "the sources are shown once");
}

/// Whether this processor has what the program's own kernels need.
#[cfg(target_arch = "x86_64")]
fn processor_suffices() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn processor_suffices() -> bool {
    false
}

#[test]
fn own_kernels_change_the_last_rounding_only() {
    let experiment = FINISHED.copy();
    let mut without = experiment.command("run", "libtorchs", &["--seeds", "1"]);
    without.env("EGSDE_NO_KERNELS", "1").assert().success();
    let libtorchs = experiment.files("libtorchs", ".png");
    let mut own = experiment.files("r", ".png");
    own.retain(|file| file.name.contains("-s1-"));
    assert_eq!(own.len(), 4 * 5);
    assert!(largest_difference(&own, &libtorchs) <= 1);
    for (runs, expected) in [("r", processor_suffices()), ("libtorchs", false)] {
        let scores = &experiment.scores(runs)[0];
        assert_eq!(
            scores["sampling"]["own_kernels"], expected,
            "{runs}: {scores}"
        );
    }
}

/// An energy in its two spellings, and experts that only a list can hold.
const EXPERTS: &str = r"name: x
title: X
task: cat2dog-32
seeds: [1]
pictures: 4
methods:
  - name: short
    method: egsde
    steps: 10
    start: 0.4
    low_pass_factor: 4
    lambda_s: 20
    lambda_i: 0.3
  - name: long
    method: egsde
    steps: 10
    start: 0.4
    low_pass_factor: 4
    experts:
      - {expert: domain_specific, weight: 20}
      - {expert: domain_independent, weight: 0.3}
  - name: class
    method: egsde
    steps: 10
    start: 0.4
    experts: [{expert: class_probability, class: dog, weight: 5}]
  - name: against
    method: egsde
    steps: 10
    start: 0.4
    experts: [{expert: class_probability, class: cat, weight: 5}]
  - name: late
    method: egsde
    steps: 10
    start: 0.4
    experts:
      - {expert: domain_specific, weight: {value: 20, from: 0.2, to: 0}}
      - {expert: class_probability, class: 1, weight: {linear: [0, 5]}}
";

#[test]
fn experts_of_a_list_work_alone_and_together() {
    let experiment = TestExperiment::new(EXPERTS);
    let plan = experiment.egsde("plan", "r", &[]).printed();
    // Four steps of diffusion; the extractor runs twice per step, once for a class; a weight of 0
    // costs nothing. The row "long" says the same as "short" and shares its job.
    for (row, cost) in [("short", "4 + 8"), ("class", "4 + 4"), ("late", "4 + 8")] {
        let line = plan
            .lines()
            .find(|line| line.contains(&format!("{row}-s1")));
        assert!(
            line.is_some_and(|line| line.contains(cost)),
            "{row} costs {cost}: {plan}"
        );
    }
    experiment.run("r", &[]).success();
    let table = experiment.table("r");
    let (short, long) = (
        table_mean(&table, "short", "l2"),
        table_mean(&table, "long", "l2"),
    );
    assert_eq!(short, long, "lambda_s and lambda_i are short for the list");
    let rows = ["short", "class", "against", "late"];
    for (i, row) in rows.iter().enumerate() {
        for other in &rows[..i] {
            let (a, b) = (
                table_mean(&table, row, "l2"),
                table_mean(&table, other, "l2"),
            );
            assert_ne!(a, b, "{row} changes nothing in {other}");
        }
    }
}

/// An edit of [`EXPERTS`] and what its refusal names.
struct WrongExpert {
    from: &'static str,
    to: &'static str,
    parts: &'static [&'static str],
}

#[test]
fn experts_that_mean_nothing_are_refused_by_row() {
    let edits = [
        WrongExpert {
            from: "class: dog",
            to: "class: dgo",
            parts: &["row \"class\"", "no class \"dgo\"", "cat, dog"],
        },
        WrongExpert {
            from: "class: 1",
            to: "class: 2",
            parts: &["row \"late\"", "no class 2"],
        },
        WrongExpert {
            from: "from: 0.2, to: 0",
            to: "from: 0.2, to: 0.5",
            parts: &["row \"late\"", "from 0.2 to 0.5"],
        },
        WrongExpert {
            from: "expert: domain_independent",
            to: "expert: domain_independant",
            parts: &["row \"long\"", "domain_independent"],
        },
    ];
    for WrongExpert { from, to, parts } in edits {
        TestExperiment::new(&edited(EXPERTS, from, to))
            .egsde("plan", "r", &[])
            .refused(parts);
    }
}

#[test]
fn rows_of_equal_settings_share_one_job() {
    let text = edited(COMPARED, "seeds: [1, 2]", "seeds: [1]");
    let twin = "  - {name: Twin, method: sdedit, steps: 10, start: 0.4}\n";
    let experiment = TestExperiment::new(&format!("{text}{twin}"));
    let ended = experiment.run("r", &[]).success();
    assert_has(&ended.error_text(), &["ran 4 jobs"]);
    assert_eq!(
        experiment.files("r", ".png").len(),
        4 * 5,
        "the two rows have one set of images"
    );
    let table = experiment.table("r");
    assert_eq!(
        table_row(&table, "Twin")["metrics"],
        table_row(&table, "SDEdit")["metrics"]
    );
    // A third one comes later.
    experiment.rewrite(&format!("{text}{twin}{}", edited(twin, "Twin", "Triplet")));
    assert_has(
        &experiment.run("r", &[]).success().error_text(),
        &["nothing to do"],
    );
}

/// Rows that ask for the source's features at equal and at other times, one of them twice with the
/// result of its first repeat as its source.
const SHARING_ROWS: [&str; 4] = [
    "  - {name: A, method: egsde, steps: 10, start: 0.4, lambda_s: 20}\n",
    "  - {name: B, method: egsde, steps: 10, start: 0.3, lambda_s: 30, repeats: 2}\n",
    "  - {name: C, method: egsde, steps: 10, start: 0.4, lambda_s: 30, source_noise: fresh}\n",
    "  - {name: D, method: egsde, steps: 20, start: 0.4, lambda_s: 30}\n",
];

fn sharing_experiment(rows: &[&str]) -> String {
    let head = "name: s\ntitle: S\ntask: cat2dog-32\nseeds: [1]\npictures: 3\nbatch_size: 2\n";
    format!("{head}methods:\n{}", rows.concat())
}

#[test]
fn rows_that_share_source_features_equal_rows_that_do_not() {
    let experiment = TestExperiment::new(&sharing_experiment(&SHARING_ROWS));
    experiment.run("together", &[]).success();
    for row in SHARING_ROWS {
        // A plan of one such row shares nothing.
        experiment.rewrite(&sharing_experiment(&[row]));
        experiment.run("alone", &[]).success();
    }
    assert_same_runs(&experiment, "together", "alone");
}
