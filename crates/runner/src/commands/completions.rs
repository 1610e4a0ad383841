//! `egsde completions`: completion scripts for shells.

use crate::runtime::console::stdout;
use anyhow::Result;
use clap_complete::{Shell, generate};

/// Arguments of `egsde completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell that reads the script.
    shell: Shell,
}

/// Runs the command; `program` is what the script completes.
///
/// # Errors
/// None that is known: the script is text.
pub fn run(args: &Args, mut program: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    let name = program.get_name().to_string();
    generate(args.shell, &mut program, name, &mut script);
    write!(stdout(), "{}", String::from_utf8(script)?)?;
    Ok(())
}
