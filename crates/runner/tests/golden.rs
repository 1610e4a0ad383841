//! The reference's own numbers (`tests/golden`), computed by this build.

mod common;

use common::{AssertText, OutputAssertExt, assert_has, checkout, egsde_in};
use egsde_runner::parity::{ParityOptions, check_case, read_cases};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Computes every case whose name begins so; there must be `count` of them.
#[track_caller]
fn assert_cases(begins: &str, count: usize) {
    let folder = golden_folder();
    let mut cases = read_cases(&folder).unwrap();
    cases.retain(|case| case["case"].as_str().unwrap().starts_with(begins));
    assert_eq!(cases.len(), count, "cases that begin with {begins}");
    for case in cases {
        let verdict = check_case(&case, &folder, ParityOptions::default()).unwrap();
        println!(
            "{:24} {:.2e} of {:.0e}",
            verdict.case, verdict.max_rel_err, verdict.tolerance
        );
        assert!(verdict.ok, "{verdict:?}");
    }
}

#[test]
fn the_adm_unet_gives_the_references_outputs() {
    assert_cases("adm_unet", 3);
}

#[test]
fn the_ddpm_unet_gives_the_references_outputs() {
    assert_cases("ddpm_unet", 2);
}

#[test]
fn images_are_resized_and_written_as_by_pillow() {
    assert_cases("pillow", 1);
}

#[test]
fn pair_metrics_are_the_references() {
    assert_cases("pair_metrics", 1);
}

#[test]
fn inception_gives_the_references_features() {
    assert_cases("inception", 1);
}

#[test]
fn the_extractor_gives_the_references_features_and_gradients() {
    assert_cases("dse", 2);
}

#[test]
fn the_low_pass_filter_is_the_references() {
    assert_cases("low_pass", 5);
}

#[test]
fn the_schedule_is_the_references() {
    assert_cases("schedule", 1);
}

#[test]
fn egsde_translates_as_the_reference() {
    assert_cases("egsde", 4);
}

#[test]
fn sdedit_translates_as_the_reference() {
    assert_cases("sdedit", 1);
}

#[test]
fn ilvr_translates_as_the_reference() {
    assert_cases("ilvr", 2);
}

#[test]
fn the_frechet_distance_is_the_references() {
    assert_cases("frechet", 2);
}

#[test]
fn a_wrong_number_is_noticed() {
    let folder = golden_folder();
    let mut cases = read_cases(&folder).unwrap();
    let schedule = cases
        .iter_mut()
        .find(|case| case["case"] == "schedule")
        .unwrap();
    schedule["beta_end"] = Value::from(0.0201);
    assert!(
        !check_case(schedule, &folder, ParityOptions::default())
            .unwrap()
            .ok
    );
}

#[test]
fn libtorchs_own_kernels_give_the_references_numbers_too() {
    let golden = golden_folder();
    for case in [
        "adm_unet_64",
        "ddpm_unet_32",
        "dse_64",
        "egsde_cosine",
        "ilvr_10",
    ] {
        let mut parity = egsde_in(&checkout());
        parity
            .arg("parity")
            .arg(&golden)
            .args(["--only", case])
            .env("EGSDE_NO_KERNELS", "1");
        assert_has(&parity.assert().printed(), &[case]);
    }
}
