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
    /// Show what an experiment would run, what is done, what it costs
    Plan(commands::experiment::PlanArgs),
    /// Run an experiment's unfinished jobs
    Run(commands::experiment::RunArgs),
    /// Print the table from what is finished
    Table(commands::experiment::TableArgs),
    /// Hold an experiment's numbers against stored ones
    Compare(commands::experiment::CompareArgs),
    /// Write tables, plots and picture grids
    Report(commands::experiment::ReportArgs),
    /// FID, L2, PSNR, SSIM of any folders by the published protocols
    Eval(commands::eval::Args),
    /// Convert and check weight files
    Weights(commands::weights::Args),
    /// Check this build against the reference's golden cases
    Parity(commands::parity::Args),
    /// Check data sets, write the embedded sheets
    Data(commands::data::Args),
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
        Command::Plan(args) => commands::experiment::plan(args, &root),
        Command::Run(args) => commands::experiment::run(args, &root),
        Command::Table(args) => commands::experiment::table(args, &root),
        Command::Compare(args) => commands::experiment::compare(args, &root),
        Command::Report(args) => commands::experiment::report(args, &root),
        Command::Eval(args) => commands::eval::run(args, &root),
        Command::Weights(args) => commands::weights::run(args),
        Command::Parity(args) => commands::parity::run(args),
        Command::Data(args) => commands::data::run(args, &root),
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
