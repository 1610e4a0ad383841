//! Bad input: one line that tells what to change, and exit code 2.

use crate::TINY;
use crate::common::project::TestProject;
use crate::common::{AssertText, TestExperiment, assert_has, edited, egsde};

/// A mistake in [`TINY`], and what its refusal names.
struct Mistake {
    from: &'static str,
    to: &'static str,
    parts: &'static [&'static str],
}

/// Mistakes that are found before anything runs.
const MISTAKES: [Mistake; 9] = [
    Mistake {
        from: "pictures: 5",
        to: "picturs: 5",
        parts: &[
            "e.yaml:6",
            "unknown field `picturs`",
            "did you mean `pictures`?",
        ],
    },
    Mistake {
        from: "pictures: 5",
        to: "pictures: 5\ngroup: 4",
        parts: &["e.yaml:7", "`group` is now `batch_size`", "`save_every`"],
    },
    Mistake {
        from: "method: sdedit",
        to: "method: sdedt",
        parts: &["e.yaml:8", "row \"SDEdit\"", "did you mean `sdedit`?"],
    },
    Mistake {
        from: "task: cat2dog-32",
        to: "task: cat2dgo-32",
        parts: &["e.yaml:3", "did you mean `cat2dog-32`?"],
    },
    Mistake {
        from: "start: 0.4}",
        to: "start: -0.4}",
        parts: &["e.yaml:8", "start (M / T) is -0.4"],
    },
    Mistake {
        from: "steps: 10, start: 0.4}",
        to: "steps: 10, lambda_s: 4}",
        parts: &["e.yaml:8", "row \"SDEdit\"", "unknown field `lambda_s`"],
    },
    Mistake {
        from: "[1, 2]",
        to: "[2, 2]",
        parts: &["e.yaml:5", "seed 2 is given twice"],
    },
    Mistake {
        from: "pictures: 5",
        to: "pictures: 5000",
        parts: &["cat has only 1000"],
    },
    Mistake {
        from: ", ilvr_variance: fixedsmall",
        to: "",
        parts: &["set ilvr_variance to fixedsmall"],
    },
];

#[test]
fn a_mistake_gets_one_line_and_exit_code_2() {
    for Mistake { from, to, parts } in MISTAKES {
        TestExperiment::new(&edited(TINY, from, to))
            .run("r", &[])
            .refused(parts);
    }
    let experiment = TestExperiment::new(TINY);
    experiment
        .run("r", &["--precision", "tf32"])
        .refused(&["tf32 is for GPUs: take f32"]);
    let parts = ["cannot write to", "--set runs_dir=DIR"];
    experiment.run("e.yaml/inside", &[]).refused(&parts);
    egsde(&["run", "no/such.yaml"]).refused(&["no/such.yaml"]);
}

#[test]
fn wrong_weights_and_missing_data_say_what_to_do() {
    let project = TestProject::embedded(TINY);
    project.flip_bit("checkpoints/embedded/dog_diffusion.safetensors", 1);
    project
        .run()
        .refused(&["dog_diffusion.safetensors: SHA-256 is", "expects"]);
    project.remove("checkpoints/embedded/dog_diffusion.safetensors");
    project
        .run()
        .refused(&["dog_diffusion.safetensors is missing"]);
    let plan = project.egsde(&["plan", "e.yaml"]).printed();
    assert_has(&plan, &["missing: ", "dog_diffusion.safetensors"]);
    project.replace("e.yaml", "task: cat2dog-32", "task: cat2dog-32-train");
    project
        .run()
        .refused(&["cifar10 is missing from", "just fetch-cifar10"]);
}

/// A wrong end of [`TINY`], and what its refusal names.
struct WrongEnd {
    end: &'static str,
    parts: &'static [&'static str],
}

#[test]
fn sweeps_and_comparisons_tell_which_name_is_wrong() {
    let ends = [
        WrongEnd {
            end: "sweep: {rows: [EGSDE], grid: {lamda_s: [1, 2]}}",
            parts: &[
                "e.yaml",
                "sweep of row \"EGSDE\"",
                "did you mean `lambda_s`?",
            ],
        },
        WrongEnd {
            end: "sweep: {rows: [EGSD], grid: {start: [0.2]}}",
            parts: &["sweep names no row `EGSD`; did you mean `EGSDE`?"],
        },
        WrongEnd {
            end: "compare_to: SDEdti",
            parts: &["compare_to names no row `SDEdti`; did you mean `SDEdit`?"],
        },
    ];
    for WrongEnd { end, parts } in ends {
        TestExperiment::new(&format!("{TINY}{end}\n"))
            .egsde("plan", "r", &[])
            .refused(parts);
    }
    let parts = ["holds no finished job: egsde run"];
    TestExperiment::new(TINY)
        .egsde("report", "r", &[])
        .refused(&parts);
}

#[test]
fn more_than_ten_thousand_jobs_need_a_yes() {
    let values: Vec<String> = (1..=6000).map(|value| value.to_string()).collect();
    let sweep = format!(
        "sweep: {{rows: [EGSDE], grid: {{lambda_s: [{}]}}}}\n",
        values.join(", ")
    );
    let experiment = TestExperiment::new(&format!("{TINY}{sweep}"));
    let parts = ["12004 jobs, more than 10000: add --yes"];
    experiment.egsde("plan", "r", &[]).refused(&parts);
    experiment.egsde("plan", "r", &["--yes"]).success();
}
