//! The binary `egsde`.

fn main() {
    egsde_runner::cli::main()
}
