//! Build script shared by every crate that links libtorch: it writes the library folder into the
//! binaries, so that no run has to set LD_LIBRARY_PATH. Build scripts that do more take it as a
//! module.

use std::path::{Component, Path, PathBuf};

/// The folder into which the profile's programs are built: three above the build script's own.
pub fn profile_folder() -> Option<PathBuf> {
    let out = std::env::var_os("OUT_DIR")?;
    Path::new(&out).ancestors().nth(3).map(Path::to_path_buf)
}

/// A folder as seen from another; both absolute.
pub fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component>, Vec<Component>) =
        (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[shared..].iter().map(|_| Component::ParentDir);
    up.chain(to[shared..].iter().copied()).collect()
}

/// Names the library folder to the linker: as seen from the program, so that a checkout may move,
/// and as it is.
pub fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        if let Some(folder) = profile_folder() {
            let from_program = relative(&folder, Path::new(&lib));
            println!(
                "cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{}",
                from_program.display()
            );
        }
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
