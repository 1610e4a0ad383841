//! The binary `egsde-engine`, which is linked with libtorch. The launcher `egsde` finds libtorch
//! and becomes this program, since a program cannot report that its own libraries are missing.
#![deny(clippy::print_stdout, clippy::print_stderr)]

fn main() {
    egsde_runner::cli::main()
}
