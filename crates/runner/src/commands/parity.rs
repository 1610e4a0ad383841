//! `egsde parity DIR`: the golden cases.

use crate::error::{Problem, UserError};
use crate::parity::{Verdict, cases, check};
use anyhow::Result;
use std::path::PathBuf;

/// Arguments of `egsde parity`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with a cases.json (format: crates/runner/tests/golden/README.md).
    folder: PathBuf,
    /// Only cases whose name starts so.
    #[arg(long)]
    only: Option<String>,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

/// Runs the command. Exit 1 when a case fails or cannot be checked.
pub fn run(args: &Args) -> Result<()> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for case in cases(&args.folder).user("parity")? {
        let name = case["case"].as_str().unwrap_or("?").to_string();
        if args.only.as_ref().is_some_and(|o| !name.starts_with(o.as_str())) {
            continue;
        }
        let verdict = check(&case, &args.folder).unwrap_or_else(|error| {
            eprintln!("egsde: {error:#}");
            let op = case["op"].as_str().unwrap_or("?").to_string();
            Verdict { case: name, op, max_rel_err: f64::INFINITY, tolerance: 0.0, ok: false }
        });
        if !args.json {
            let Verdict { case, op, max_rel_err, tolerance, ok } = &verdict;
            println!("{case:24} {op:24} {max_rel_err:.2e} of {tolerance:.0e} {}", if *ok { "ok" } else { "FAILED" });
        }
        verdicts.push(verdict);
    }
    let failed = verdicts.iter().filter(|v| !v.ok).count();
    if args.json {
        println!("{}", serde_json::json!({"cases": verdicts, "ok": failed == 0}));
    }
    match failed {
        0 if verdicts.is_empty() => Err(Problem::user(format!("no case in {} matches", args.folder.display()))),
        0 => Ok(()),
        n => Err(Problem::No(format!("{n} of {} cases failed", verdicts.len())).into()),
    }
}
