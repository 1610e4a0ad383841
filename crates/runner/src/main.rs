//! The binary `egsde-engine`, which `egsde` starts once libtorch is found.

fn main() {
    egsde_runner::cli::main()
}
