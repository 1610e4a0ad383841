//! The reference's own numbers (`tests/golden`), computed by this build.

mod common;

use common::{AssertText, OutputAssertExt, assert_has, checkout, egsde_in};
use egsde_runner::parity::{ParityOptions, check_case, read_cases};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The cases of the GANs that the table compares with.
fn rivals_folder() -> PathBuf {
    golden_folder().join("rivals")
}

/// Computes every case whose name begins so; there must be `count` of them.
#[track_caller]
fn assert_cases(begins: &str, count: usize) {
    assert_cases_in(&golden_folder(), begins, count);
}

/// The same of the GANs' cases.
#[track_caller]
fn assert_rivals(begins: &str, count: usize) {
    assert_cases_in(&rivals_folder(), begins, count);
}

/// As [`assert_cases`], in any folder of cases.
#[track_caller]
fn assert_cases_in(folder: &Path, begins: &str, count: usize) {
    let mut cases = read_cases(folder).unwrap();
    cases.retain(|case| case["case"].as_str().unwrap().starts_with(begins));
    assert_eq!(cases.len(), count, "cases that begin with {begins}");
    for case in cases {
        let verdict = check_case(&case, folder, ParityOptions::default()).unwrap();
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
fn networks_with_the_less_usual_flags_give_a_plain_loops_outputs() {
    assert_cases_in(&golden_folder().join("flags"), "", 9);
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
fn generators_of_cut_and_cyclegan_give_the_references_images() {
    assert_rivals("cut_generator", 4);
    assert_rivals("cyclegan_generator", 2);
}

#[test]
fn generators_come_from_their_authors_files() {
    assert_rivals("checkpoint", 2);
}

#[test]
fn the_patch_discriminator_gives_the_references_judgements_and_gradients() {
    assert_rivals("patchgan", 4);
}

#[test]
fn losses_of_gans_are_the_references() {
    assert_rivals("gan_loss", 1);
    assert_rivals("patch_nce", 4);
    assert_rivals("patch_features", 1);
    assert_rivals("nce_picture_grad", 1);
}

#[test]
fn adam_the_learning_rates_and_the_image_pool_are_the_references() {
    assert_rivals("adam", 2);
    assert_rivals("gan_lr", 1);
    assert_rivals("image_pool", 1);
}

#[test]
fn training_steps_of_cut_are_the_references() {
    assert_rivals("cut_steps", 1);
}

#[test]
fn training_steps_of_fastcut_are_the_references() {
    assert_rivals("fastcut_steps", 1);
}

#[test]
fn training_steps_of_cyclegan_are_the_references() {
    assert_rivals("cyclegan_steps", 1);
}

#[test]
fn gans_read_and_write_images_as_their_authors() {
    assert_rivals("cut_picture", 2);
    assert_rivals("cyclegan_picture", 1);
    assert_rivals("stargan_v2_picture", 2);
}

#[test]
fn stargan_v2_gives_the_references_styles_and_images() {
    assert_rivals("stargan_v2_mapping", 1);
    assert_rivals("stargan_v2_style", 2);
    assert_rivals("stargan_v2_generator", 4);
    assert_rivals("stargan_v2_reference", 1);
    assert_rivals("stargan_v2_discriminator", 1);
}

#[test]
fn masks_of_faces_are_the_references() {
    assert_rivals("wing", 2);
}

#[test]
fn every_case_of_the_gans_is_tested() {
    assert_eq!(read_cases(&rivals_folder()).unwrap().len(), 42);
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
