//! Tells the code which commit and libtorch it is built from.

use std::path::Path;
use std::process::Command;

#[path = "../../scripts/rpath.rs"]
mod rpath;

/// From the wheel's `version.py` beside the library folder: `__version__ = '2.11.0+...'`.
fn libtorch_version(lib: &str) -> Option<String> {
    let file = Path::new(lib).parent()?.join("version.py");
    println!("cargo:rerun-if-changed={}", file.display());
    let text = std::fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("__version__ = "))?;
    Some(line.trim().trim_matches(['\'', '"']).to_string())
}

/// The commit of the checkout; none outside one.
fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    if output.status.success() {
        String::from_utf8(output.stdout).ok()
    } else {
        None
    }
}

/// The file that changes with every commit; that of a worktree lies elsewhere.
fn commit_log() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--git-path", "logs/HEAD"])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

/// What `src/launcher.rs` needs to know of libtorch, which lies in `lib`.
fn tell_launcher(lib: &str) {
    let built = rpath::profile_folder().unwrap_or_default();
    let relative = rpath::relative(&built, Path::new(lib));
    println!("cargo:rustc-env=EGSDE_LIBTORCH_DIR={lib}");
    println!(
        "cargo:rustc-env=EGSDE_LIBTORCH_RELATIVE={}",
        relative.display()
    );
    println!("cargo:rustc-env=EGSDE_BUILT_INTO={}", built.display());
}

fn main() {
    rpath::main();
    let log = commit_log().unwrap_or("../../.git/logs/HEAD".into());
    println!("cargo:rerun-if-changed={}", log.trim());
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        let version = libtorch_version(&lib).unwrap_or_else(|| "unknown".into());
        println!("cargo:rustc-env=EGSDE_LIBTORCH={version}");
        tell_launcher(&lib);
    }
    println!(
        "cargo:rustc-env=EGSDE_COMMIT={}",
        commit().as_deref().unwrap_or("unknown").trim()
    );
}
