//! The binary `egsde`.

fn main() -> std::process::ExitCode {
    egsde_runner::cli::main()
}
