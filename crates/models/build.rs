//! Compiles the few lines of C++ that reach settings tch has no name for.

use std::path::Path;

#[path = "../../scripts/rpath.rs"]
mod rpath;

fn main() {
    rpath::main();
    println!("cargo:rerun-if-changed=src/libtorch.cpp");
    let library_folder =
        std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys reports where libtorch is");
    let include_folder = Path::new(&library_folder).with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(include_folder)
        .file("src/libtorch.cpp")
        .compile("egsde_libtorch");
}
