//! `egsde man`: manual pages.

use crate::error::OrInvalidInput;
use crate::paths::path_parser;
use crate::runtime::console::stdout;
use anyhow::Result;
use clap_mangen::{Man, generate_to};
use egsde_data::files::make_writable_folder;
use std::path::PathBuf;

/// Arguments of `egsde man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for one page per command, instead of the main page on standard output.
    #[arg(long, value_name = "DIR", value_parser = path_parser())]
    out: Option<PathBuf>,
}

/// Runs the command; `program` is what the pages describe.
///
/// # Errors
/// Invalid input: the folder cannot be written.
pub fn run(args: &Args, program: clap::Command) -> Result<()> {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        Man::new(program).render(&mut page)?;
        write!(stdout(), "{}", String::from_utf8(page)?)?;
        return Ok(());
    };
    make_writable_folder(folder).or_invalid_input("--out")?;
    generate_to(program, folder).or_invalid_input(format!("cannot write to {}", folder.display()))
}
