//! `egsde parity` and `egsde compare`: numbers held against the reference's and against stored
//! ones.

use crate::common::{AssertText, assert_has, edited, egsde};
use crate::{COMPARED, FINISHED};

#[test]
fn parity_prints_one_document() {
    let golden = [
        "parity",
        "crates/runner/tests/golden",
        "--only",
        "low_pass",
        "--json",
    ];
    let document = egsde(&golden).printed_json();
    assert_eq!(document["ok"], true, "{document}");
    assert_eq!(document["cases"].as_array().unwrap().len(), 5, "{document}");
}

#[test]
fn a_number_that_left_the_baseline_is_named() {
    let experiment = FINISHED.copy();
    let baseline = experiment.path("base.csv");
    let baseline = baseline.to_str().unwrap();
    experiment
        .egsde("compare", "r", &[baseline, "--update"])
        .success();
    experiment.egsde("compare", "r", &[baseline]).success();
    experiment.rewrite(&edited(COMPARED, "lambda_s: 20", "lambda_s: 60"));
    experiment.run("r", &[]).success();
    let text = experiment
        .egsde("compare", "r", &[baseline])
        .code(1)
        .error_text();
    assert_has(&text, &["EGSDE l2"]);
    assert!(!text.contains("SDEdit l2"), "{text}");
}

#[test]
fn a_number_that_is_gone_or_new_is_named() {
    let experiment = FINISHED.copy();
    let path = experiment.path("base.csv");
    let baseline = path.to_str().unwrap();
    experiment
        .egsde("compare", "r", &[baseline, "--update"])
        .success();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, edited(&text, "ILVR,", "Gone,")).unwrap();
    let text = experiment
        .egsde("compare", "r", &[baseline])
        .code(1)
        .error_text();
    assert_has(&text, &["Gone l2: stored", "no number now", "ILVR l2"]);
}
