//! The command line.

use crate::commands;
use crate::error::{exit_code, one_line};
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tch::Device;

#[derive(Debug, Parser)]
#[command(name = "egsde", version, about = "Reproduces and extends the tables of EGSDE (NeurIPS 2022)")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network of the embedded scale
    Train(commands::train::Args),
}

/// `cpu`, `cuda`, `cuda:N`.
pub fn device(text: &str) -> Result<Device, String> {
    let cuda = |index| Ok(Device::Cuda(index));
    match text.split_once(':') {
        None if text == "cpu" => Ok(Device::Cpu),
        None if text == "cuda" => cuda(0),
        Some(("cuda", index)) => index.parse().map_err(|_| format!("no device number in {text:?}")).and_then(cuda),
        _ => Err(format!("no device {text:?}; there are cpu, cuda:0, cuda:1, ...")),
    }
}

/// Whether the processor has bf16 dot products (AVX512-BF16 or AMX).
pub fn cpu_has_bf16() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    flags.contains("avx512_bf16") || flags.contains("amx_bf16")
}

/// Parses, runs, prints errors as one line, returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let root = std::env::current_dir().unwrap_or_default();
    let result = match &cli.command {
        Command::Train(args) => commands::train::run(args, &root),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("egsde: {}", one_line(&format!("{error:#}")));
            ExitCode::from(exit_code(&error))
        }
    }
}
