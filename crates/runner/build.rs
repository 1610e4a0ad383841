//! Writes libtorch's folder into the binary (as `scripts/rpath.rs` does) and tells the code which commit it is built from.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    println!("cargo:rerun-if-changed=../../.git/logs/HEAD");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
    let described = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let commit = described.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    println!("cargo:rustc-env=EGSDE_COMMIT={}", commit.as_deref().unwrap_or("unknown").trim());
}
