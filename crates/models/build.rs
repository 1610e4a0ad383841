//! Writes libtorch's folder into the tests' binaries (as `scripts/rpath.rs` does) and compiles the few lines of C++ that reach
//! settings tch has no name for.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    println!("cargo:rerun-if-changed=src/tf32.cpp");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    let include = Path::new(&lib).with_file_name("include");
    cc::Build::new().cpp(true).std("c++17").warnings(false).include(include).file("src/tf32.cpp").compile("egsde_tf32");
}
