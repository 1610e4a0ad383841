//! Build script shared by every crate that links libtorch: it writes the library folder into the
//! binaries, so that no run has to set LD_LIBRARY_PATH. Build scripts that do more take it as a
//! module.

/// Names the library folder to the linker.
pub fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
