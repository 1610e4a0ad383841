//! The command line.

use crate::commands;
use crate::error::{exit_code, one_line};
use crate::project::Project;
use crate::runtime::memory::{is_out_of_memory, panic_text};
use crate::runtime::signal::READER_GONE;
use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

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
    Plan(commands::plan::Args),
    /// Run an experiment's unfinished jobs
    Run(commands::run::Args),
    /// Print the table from what is finished
    Table(commands::table::Args),
    /// Hold an experiment's numbers against stored ones
    Compare(commands::compare::Args),
    /// Write tables, plots and picture grids
    Report(commands::report::Args),
    /// Whether everything in a results folder is what was written
    Verify(commands::verify::Args),
    /// Put the finished jobs of several runs folders together
    Merge(commands::merge::Args),
    /// Run an experiment's unfinished jobs on a Slurm cluster
    Submit(Box<commands::submit::Args>),
    /// What has become of a submitted experiment
    Status(commands::status::Args),
    /// Take a submitted experiment's tasks out of Slurm's queue
    Cancel(commands::cancel::Args),
    /// What the cluster's script runs
    #[command(hide = true)]
    Task(commands::task::Args),
    /// Where a row's numbers come from: settings, seeds, hashes, code, device, times
    Explain(commands::explain::Args),
    /// Human evaluation: a blinded page, and its score
    Study(commands::study::Args),
    /// The metrics of any folders by the published protocols
    Eval(commands::eval::Args),
    /// Convert and check weight files
    Weights(commands::weights::Args),
    /// Check this build against the reference's golden cases
    Parity(commands::parity::Args),
    /// Check data sets, write the embedded sheets
    Data(commands::data::Args),
    /// Train a network of the embedded scale
    Train(commands::train::Args),
    /// Print a completion script for a shell
    Completions(commands::completions::Args),
    /// Print the manual page, or write one per command
    Man(commands::man::Args),
}

/// Runs a command.
fn dispatch(command: &Command, project: &Project) -> anyhow::Result<()> {
    match command {
        Command::Plan(args) => commands::plan::run(args, project),
        Command::Run(args) => commands::run::run(args, project),
        Command::Table(args) => commands::table::run(args, project),
        Command::Compare(args) => commands::compare::run(args, project),
        Command::Report(args) => commands::report::run(args, project),
        Command::Verify(args) => commands::verify::run(args),
        Command::Merge(args) => commands::merge::run(args),
        Command::Submit(args) => commands::submit::run(args, project),
        Command::Status(args) => commands::status::run(args, project),
        Command::Cancel(args) => commands::cancel::run(args, project),
        Command::Task(args) => commands::task::run(args, project),
        Command::Explain(args) => commands::explain::run(args, project),
        Command::Study(args) => commands::study::run(args, project),
        Command::Eval(args) => commands::eval::run(args, project),
        Command::Weights(args) => commands::weights::run(args),
        Command::Parity(args) => commands::parity::run(args),
        Command::Data(args) => commands::data::run(args, project),
        Command::Train(args) => commands::train::run(args, project),
        Command::Completions(args) => commands::completions::run(args, Cli::command()),
        Command::Man(args) => commands::man::run(args, Cli::command()),
    }
}

/// Whether a panic is that of `println!` or `eprintln!` into a closed pipe.
fn is_reader_gone(text: &str) -> bool {
    text.contains("failed printing to std") && text.contains("Broken pipe")
}

/// One line to standard error, where it can be written.
fn print_error(line: &str) {
    let _ = writeln!(std::io::stderr(), "egsde: {line}");
}

/// Reports a panic in one line. Errors of libjpeg unwind without a panic and do not come here.
fn report_panic(panic: &PanicHookInfo) {
    let text = one_line(&panic.to_string());
    // A lack of memory is met by smaller batches.
    if !is_out_of_memory(&text) && !is_reader_gone(&text) {
        print_error(&format!(
            "internal error ({}): {text}; docs/reliability.md tells what to send",
            crate::CODE
        ));
    }
}

/// The mistake in a command line as one line, without usage and advice.
fn usage_error(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more").next().unwrap_or_default();
    format!(
        "{} (egsde --help)",
        one_line(text.trim_start_matches("error: "))
    )
}

/// Ends the process without libtorch's static destructors, which take a good part of a short
/// command's time.
fn leave(code: u8) -> ! {
    let _ = std::io::stdout().flush();
    signal_hook::low_level::exit(i32::from(code))
}

/// Parses, runs, prints errors as one line, and ends the process with the exit code (3 after a
/// panic).
pub fn main() -> ! {
    leave(run())
}

fn run() -> u8 {
    std::panic::set_hook(Box::new(report_panic));
    // With a single thread libtorch takes other kernels, which round differently; from two on
    // results are the same.
    if tch::get_num_threads() < 2 {
        tch::set_num_threads(2);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            print_error(&usage_error(&error));
            return 2;
        }
        Err(help) => {
            let _ = help.print();
            return 0;
        }
    };
    let project = Project::new(std::env::current_dir().unwrap_or_default());
    match catch_unwind(AssertUnwindSafe(|| dispatch(&cli.command, &project))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            print_error(&one_line(&format!("{error:#}")));
            exit_code(&error)
        }
        Err(cause) if is_reader_gone(&panic_text(cause.as_ref())) => READER_GONE,
        Err(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistake_in_the_command_line_is_one_line() {
        let error = Cli::try_parse_from(["egsde", "plam"]).unwrap_err();
        let line = usage_error(&error);
        assert!(
            line.contains("'plam'") && line.ends_with("(egsde --help)"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }
}
