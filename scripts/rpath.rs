//! Build script shared by every crate that links libtorch: writes the library folder into the binaries,
//! so that nobody has to export LD_LIBRARY_PATH. Build scripts that do more take it as a module.

pub fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
