//! The reference's own numbers (tests/golden), computed by this build.

use egsde_runner::parity::{Bench, cases, check};
use std::path::Path;
use std::process::Command;

fn run(wanted: impl Fn(&str) -> bool, at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut checked = 0;
    for case in cases(&folder).unwrap() {
        let name = case["case"].as_str().unwrap();
        if !wanted(name) {
            continue;
        }
        let verdict = check(&case, &folder, Bench::default()).unwrap();
        println!(
            "{:24} {:.2e} of {:.0e}",
            verdict.case, verdict.max_rel_err, verdict.tolerance
        );
        assert!(verdict.ok, "{verdict:?}");
        checked += 1;
    }
    assert!(checked >= at_least, "only {checked} cases were checked");
}

#[test]
fn adm_unet() {
    run(|c| c.starts_with("adm_unet"), 3);
}

#[test]
fn ddpm_unet() {
    run(|c| c.starts_with("ddpm_unet"), 2);
}

#[test]
fn pictures_as_pillow_does_them() {
    run(|c| c == "pillow" || c == "pair_metrics", 2);
}

#[test]
fn inception() {
    run(|c| c == "inception", 1);
}

#[test]
fn extractor() {
    run(|c| c.starts_with("dse"), 2);
}

#[test]
fn low_pass_and_schedule() {
    run(|c| c.starts_with("low_pass") || c == "schedule", 6);
}

#[test]
fn egsde_and_sdedit() {
    run(|c| c.starts_with("egsde") || c == "sdedit", 5);
}

#[test]
fn ilvr() {
    run(|c| c.starts_with("ilvr"), 2);
}

#[test]
fn frechet() {
    run(|c| c.starts_with("frechet"), 2);
}

#[test]
fn a_wrong_number_is_noticed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut case = cases(&folder)
        .unwrap()
        .into_iter()
        .find(|c| c["case"] == "schedule")
        .unwrap();
    case["beta_end"] = 0.0201.into();
    assert!(!check(&case, &folder, Bench::default()).unwrap().ok);
}

#[test]
fn libtorchs_own_kernels_where_ours_do_not_serve() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for case in [
        "adm_unet_64",
        "ddpm_unet_32",
        "dse_64",
        "egsde_cosine",
        "ilvr_10",
    ] {
        let mut egsde = Command::new(env!("CARGO_BIN_EXE_egsde"));
        let output = egsde
            .arg("parity")
            .arg(&folder)
            .args(["--only", case])
            .env("EGSDE_NO_KERNELS", "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains(case), "{text}");
    }
}
