//! The command line.

use crate::commands;
use crate::error::{exit_code, one_line};
use crate::interrupt::READER_GONE;
use crate::memory::{is_out_of_memory, panic_text};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[derive(Debug, Parser)]
#[command(
    name = "egsde",
    version,
    about = "Reproduces and extends the tables of EGSDE (NeurIPS 2022)"
)]
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
    /// Whether everything in a results folder is what was written
    Verify(commands::provenance::VerifyArgs),
    /// Put the finished jobs of several runs folders together
    Merge(commands::merge::Args),
    /// Run an experiment's unfinished jobs on a Slurm cluster
    Submit(Box<commands::cluster::SubmitArgs>),
    /// What has become of a submitted experiment
    Status(commands::cluster::StatusArgs),
    /// Take a submitted experiment's tasks out of Slurm's queue
    Cancel(commands::cluster::StatusArgs),
    /// What the cluster's script runs
    #[command(hide = true)]
    Task(commands::cluster::TaskArgs),
    /// Where a row's numbers come from: settings, seeds, hashes, code, device, times
    Explain(commands::provenance::ExplainArgs),
    /// Human evaluation: a blinded page, and its score
    Study(commands::study::Args),
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

/// Whether a panic is that of `println!` or `eprintln!` into a closed pipe.
fn reader_gone(text: &str) -> bool {
    text.contains("failed printing to std") && text.contains("Broken pipe")
}

/// One line to standard error; nobody is told that nobody reads it.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "egsde: {line}");
}

/// Says that a panic is our fault, in one line. libjpeg's errors unwind without a panic and do not come here.
fn blame_ourselves() {
    std::panic::set_hook(Box::new(|panic| {
        let text = one_line(&panic.to_string());
        // Memory is met by taking fewer pictures at once.
        if !is_out_of_memory(&text) && !reader_gone(&text) {
            say(&format!(
                "this is our fault, not yours ({}): {text}; see docs/reliability.md for what to send us",
                crate::CODE
            ));
        }
    }));
}

fn dispatch(command: &Command, root: &Path) -> anyhow::Result<()> {
    match command {
        Command::Plan(args) => commands::experiment::plan(args, root),
        Command::Run(args) => commands::experiment::run(args, root),
        Command::Table(args) => commands::experiment::table(args, root),
        Command::Compare(args) => commands::experiment::compare(args, root),
        Command::Report(args) => commands::experiment::report(args, root),
        Command::Verify(args) => commands::provenance::verify(args),
        Command::Merge(args) => commands::merge::run(args),
        Command::Submit(args) => commands::cluster::submit(args, root),
        Command::Status(args) => commands::cluster::status(args, root),
        Command::Cancel(args) => commands::cluster::cancel(args, root),
        Command::Task(args) => commands::cluster::task(args, root),
        Command::Explain(args) => commands::provenance::explain(args, root),
        Command::Study(args) => commands::study::run(args, root),
        Command::Eval(args) => commands::eval::run(args, root),
        Command::Weights(args) => commands::weights::run(args),
        Command::Parity(args) => commands::parity::run(args),
        Command::Data(args) => commands::data::run(args, root),
        Command::Train(args) => commands::train::run(args, root),
    }
}

/// Ends the process without libtorch's static destructors, which take a good part of a short command's time.
fn leave(code: u8) -> ! {
    let _ = std::io::stdout().flush();
    signal_hook::low_level::exit(i32::from(code))
}

/// Parses, runs, prints errors as one line, ends the process with the exit code (3 after a panic).
pub fn main() -> ! {
    leave(answer())
}

fn answer() -> u8 {
    blame_ourselves();
    // With a single thread libtorch takes other kernels, which round differently; from two on results are the same.
    if tch::get_num_threads() < 2 {
        tch::set_num_threads(2);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let said = text
                .split("\n\nUsage:")
                .next()
                .unwrap_or_default()
                .split("\n\nFor more")
                .next()
                .unwrap_or_default();
            say(&format!(
                "{} (egsde --help)",
                one_line(said.trim_start_matches("error: "))
            ));
            return 2;
        }
        Err(help) => {
            let _ = help.print();
            return 0;
        }
    };
    let root = std::env::current_dir().unwrap_or_default();
    match catch_unwind(AssertUnwindSafe(|| dispatch(&cli.command, &root))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            say(&one_line(&format!("{error:#}")));
            exit_code(&error)
        }
        Err(cause) if reader_gone(&panic_text(cause.as_ref())) => READER_GONE,
        Err(_) => 3,
    }
}
