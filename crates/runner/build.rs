//! Tells the code which commit and libtorch it is built from.

use std::process::Command;

#[path = "../../scripts/rpath.rs"]
mod rpath;

/// From the wheel's `version.py` beside the library folder: `__version__ = '2.11.0+...'`.
fn libtorch_version(lib: &str) -> Option<String> {
    let file = std::path::Path::new(lib).parent()?.join("version.py");
    println!("cargo:rerun-if-changed={}", file.display());
    let text = std::fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("__version__ = "))?;
    Some(line.trim().trim_matches(['\'', '"']).to_string())
}

fn main() {
    rpath::main();
    println!("cargo:rerun-if-changed=../../.git/logs/HEAD");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!(
            "cargo:rustc-env=EGSDE_LIBTORCH={}",
            libtorch_version(&lib).as_deref().unwrap_or("unknown")
        );
    }
    let described = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    let commit = described
        .ok()
        .filter(|o| o.status.success())
        .and_then(|o| String::from_utf8(o.stdout).ok());
    println!(
        "cargo:rustc-env=EGSDE_COMMIT={}",
        commit.as_deref().unwrap_or("unknown").trim()
    );
}
