//! The command line.

use crate::commands;
use crate::error::{ReaderGone, exit_code, one_line, without_controls, without_error_numbers};
use crate::paths::path_parser;
use crate::project::Project;
use crate::runtime::console::{log, stdout};
use crate::runtime::device::{is_device_lost, loss_text};
use crate::runtime::memory::{is_out_of_memory, panic_text};
use anyhow::Result;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(
    name = "egsde",
    version = crate::VERSION,
    about = "Reproduces and extends the tables of EGSDE (NeurIPS 2022)",
    arg_required_else_help = true
)]
struct Cli {
    /// The project's folder, instead of the one at or above the working folder
    #[arg(long, global = true, value_name = "DIR", value_parser = path_parser())]
    project: Option<PathBuf>,
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
    /// Hold the paper's claims against an experiment's numbers
    Claims(commands::claims::Args),
    /// Hold an experiment's numbers against stored ones
    Compare(commands::compare::Args),
    /// Write tables, plots and picture grids
    Report(commands::report::Args),
    /// Write one page of several experiments: their tables, claims and a grid of all
    Overview(commands::overview::Args),
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
    SlurmTask(commands::slurm_task::Args),
    /// Make a task of own pictures and networks, or check one
    Task(commands::task::Args),
    /// Where a row's numbers come from: settings, seeds, hashes, code, device, times
    Explain(commands::explain::Args),
    /// Translate pictures of one's own
    Translate(commands::translate::Args),
    /// Human evaluation: a blinded page, and its score
    Study(commands::study::Args),
    /// The metrics of any folders by the published protocols
    Eval(commands::eval::Args),
    /// Convert and check weight files
    Weights(commands::weights::Args),
    /// Check this build against the reference's golden cases
    Parity(commands::parity::Args),
    /// Check a GPU: parity, repeatability, speed and memory
    CheckGpu(commands::check_gpu::Args),
    /// Check data sets, write the embedded sheets
    Data(commands::data::Args),
    /// Train a network of the embedded scale
    Train(commands::train::Args),
    /// Print a completion script for a shell
    Completions(commands::completions::Args),
    /// Print the manual page, or write one per command
    Man(commands::man::Args),
}

impl Cli {
    /// The project that is meant.
    fn project(&self) -> Result<Project> {
        Project::find(self.project.as_deref())
    }

    /// The same for a command that also works without one, in the working folder.
    fn project_or_here(&self) -> Result<Project> {
        match &self.project {
            Some(_) => self.project(),
            None => Ok(Project::find_or_here()),
        }
    }
}

/// Runs a command.
fn dispatch(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Plan(args) => commands::plan::run(args, &cli.project()?),
        Command::Run(args) => commands::run::run(args, &cli.project()?),
        Command::Table(args) => commands::table::run(args, &cli.project()?),
        Command::Claims(args) => commands::claims::run(args, &cli.project()?),
        Command::Compare(args) => commands::compare::run(args, &cli.project()?),
        Command::Report(args) => commands::report::run(args, &cli.project()?),
        Command::Overview(args) => commands::overview::run(args, &cli.project()?),
        Command::Verify(args) => commands::verify::run(args),
        Command::Merge(args) => commands::merge::run(args),
        Command::Submit(args) => commands::submit::run(args, &cli.project()?),
        Command::Status(args) => commands::status::run(args, &cli.project()?),
        Command::Cancel(args) => commands::cancel::run(args, &cli.project()?),
        Command::SlurmTask(args) => commands::slurm_task::run(args, &cli.project()?),
        Command::Task(args) => commands::task::run(args, &cli.project()?),
        Command::Explain(args) => commands::explain::run(args, &cli.project()?),
        Command::Translate(args) => commands::translate::run(args, &cli.project()?),
        Command::Study(args) => commands::study::run(args, || cli.project()),
        Command::Eval(args) => commands::eval::run(args, &cli.project_or_here()?),
        Command::Weights(args) => commands::weights::run(args, || cli.project()),
        Command::Parity(args) => commands::parity::run(args),
        Command::CheckGpu(args) => commands::check_gpu::run(args, &cli.project()?),
        Command::Data(args) => commands::data::run(args, &cli.project()?),
        Command::Train(args) => commands::train::run(args, &cli.project()?),
        Command::Completions(args) => commands::completions::run(args, Cli::command()),
        Command::Man(args) => commands::man::run(args, Cli::command()),
    }
}

/// One line to standard error, where it can be written.
fn print_error(line: &str) {
    let line = without_controls(&without_error_numbers(line));
    writeln!(log(), "egsde: {line}");
}

/// Whether a panic tells of the device and not of a mistake in this program.
fn is_from_device(text: &str) -> bool {
    is_out_of_memory(text) || is_device_lost(text)
}

/// An error as one line; of a GPU that no longer works, only what libtorch calls it.
fn told_at_the_end(text: &str) -> String {
    // The program's own messages on lost devices name the device and what is left to do.
    if is_device_lost(text) && text.contains("Torch(") {
        format!("the GPU no longer works: {}", loss_text(text))
    } else {
        one_line(text)
    }
}

/// Reports a panic in one line. Errors of libjpeg unwind without a panic and do not come here.
fn report_panic(panic: &PanicHookInfo) {
    let text = one_line(&panic.to_string());
    // A lack of memory is met by smaller batches, a lost GPU by other devices; what ends the
    // command all the same is told at its end.
    if !is_from_device(&text) {
        print_error(&format!(
            "internal error ({}): {text}; docs/reliability.md tells what to send",
            crate::CODE
        ));
    }
}

/// The mistake in a command line as one line, with the nearest names, without usage and the advice
/// to hand an unknown option on as a value, which no command takes.
fn usage_error(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more").next().unwrap_or_default();
    let mut parts = text.trim_start_matches("error: ").split("\n\n  tip: ");
    let mut line = one_line(parts.next().unwrap_or_default());
    for tip in parts.filter(|tip| !tip.starts_with("to pass ")) {
        line += &format!("; {}", one_line(tip));
    }
    line + " (egsde --help)"
}

/// Ends the process without libtorch's static destructors, which take a good part of a short
/// command's time.
fn leave(code: u8) -> ! {
    signal_hook::low_level::exit(i32::from(code))
}

/// Parses, runs, prints errors as one line, and ends the process with the exit code (3 after a
/// panic).
pub fn main() -> ! {
    leave(run())
}

/// Prints an error as one line, unless the output's reader has gone; returns the exit code.
fn report_error(error: &anyhow::Error) -> u8 {
    if !error.is::<ReaderGone>() {
        print_error(&told_at_the_end(&format!("{error:#}")));
    }
    exit_code(error)
}

/// What a command line that runs no command asks for: help, the version, or to be mended.
fn answer_usage(error: &clap::Error) -> Result<u8> {
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            write!(log(), "{}", error.render());
            Ok(2)
        }
        _ if error.use_stderr() => {
            print_error(&usage_error(error));
            Ok(2)
        }
        _ => {
            write!(stdout(), "{}", error.render())?;
            stdout().flush()?;
            Ok(0)
        }
    }
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
        Err(usage) => return answer_usage(&usage).unwrap_or_else(|error| report_error(&error)),
    };
    let done = catch_unwind(AssertUnwindSafe(|| {
        dispatch(&cli)?;
        stdout().flush()
    }));
    match done {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            // What was printed before the error is part of the answer.
            let _ = stdout().flush();
            report_error(&error)
        }
        Err(cause) => {
            let text = panic_text(cause.as_ref());
            // The hook has told of every other panic.
            if is_from_device(&text) {
                print_error(&told_at_the_end(&text));
            }
            3
        }
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
    fn a_lost_gpu_is_told_without_libtorchs_advice() {
        let panic = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA error: unspecified \
                     launch failure\\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\")";
        let line = told_at_the_end(panic);
        assert_eq!(
            line,
            "the GPU no longer works: CUDA error: unspecified launch failure"
        );
        let own = "3 of 5 jobs are left, since cuda:0 no longer works (CUDA error: unknown error)";
        assert_eq!(told_at_the_end(own), own);
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

    #[test]
    fn an_unknown_option_is_told_with_the_nearest_one_and_no_other_advice() {
        let line = |option: &str| {
            let error = Cli::try_parse_from(["egsde", "run", "e.yaml", option]);
            usage_error(&error.unwrap_err())
        };
        let near = line("--limt");
        let expected = "unexpected argument '--limt' found; a similar argument exists: '--limit' \
                        (egsde --help)";
        assert_eq!(near, expected);
        assert_eq!(
            line("--zzz"),
            "unexpected argument '--zzz' found (egsde --help)"
        );
    }
}
