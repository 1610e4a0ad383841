//! The scripts that guard the layers and break the program on purpose know the code as it is.

mod common;

use common::{Assert, OutputAssertExt, checkout};
use std::process::Command;

fn script(name: &str, arguments: &[&str]) -> Assert {
    let path = checkout().join("scripts").join(name);
    Command::new("python3")
        .arg(path)
        .args(arguments)
        .current_dir(checkout())
        .assert()
}

#[test]
fn nothing_imports_upwards() {
    script("check_layers.py", &[]).success();
}

#[test]
fn the_check_of_the_layers_notices_what_it_checks() {
    script("check_layers.py", &["--self-test"]).success();
}

#[test]
fn every_mutation_finds_its_place_in_the_code() {
    script("mutate.py", &["--list-places"]).success();
}
