//! Benchmarks of this project; `just bench` and its relatives call them.

mod frechet;
mod generate;
mod measure;
mod overhead;
mod scale;
mod worker;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "egsde-bench")]
#[command(about = "Benchmarks: every number is measured on this machine, in this run")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Time and memory of plan, table, compare and report over many finished jobs
    Scale(scale::Args),
    /// The harness's own share of a run
    Overhead(overhead::Args),
    /// Times Fréchet distances on demand (scripts/bench/compare.py)
    #[command(hide = true)]
    Frechet(frechet::Args),
    /// Times sampling steps on demand (scripts/bench/compare.py)
    #[command(hide = true)]
    Worker(worker::Args),
    /// Writes what scale measures: an experiment of finished jobs
    #[command(hide = true)]
    Generate(generate::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Scale(args) => scale::run(&args),
        Command::Overhead(args) => overhead::run(&args),
        Command::Frechet(args) => frechet::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Generate(args) => generate::run(&args),
    }
}
