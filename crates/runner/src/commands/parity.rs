//! `egsde parity DIR`: the golden cases.

use crate::error::{Problem, UserError};
use crate::parity::{Bench, Verdict, cases, check};
use crate::spec::Precision;
use anyhow::Result;
use std::path::PathBuf;
use tch::Device;

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
    /// Where the networks compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = crate::device::open_device)]
    device: Device,
    /// Working precision of the networks.
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// Multiply every tolerance by this (a GPU or bf16 needs more room); printed with the result.
    #[arg(long, default_value_t = 1.0, value_parser = widening)]
    widen: f64,
}

/// A factor of 1 or more.
fn widening(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if factor.is_finite() && factor >= 1.0 {
        Ok(factor)
    } else {
        Err("must be 1 or more".into())
    }
}

/// Runs the command. Exit 1 when a case fails or cannot be checked.
pub fn run(args: &Args) -> Result<()> {
    args.precision.prepare(args.device).map_err(Problem::user)?;
    let kind = args.precision.kind();
    let bench = Bench {
        device: args.device,
        kind,
        widen: args.widen,
    };
    let mut verdicts: Vec<Verdict> = Vec::new();
    let is_reference =
        args.widen == 1.0 && args.precision == Precision::F32 && args.device == Device::Cpu;
    if !args.json && !is_reference {
        println!(
            "{:?}, {}, tolerances widened {} times",
            args.device, args.precision, args.widen
        );
    }
    for case in cases(&args.folder).user("parity")? {
        let name = case["case"].as_str().unwrap_or("?").to_string();
        if args
            .only
            .as_ref()
            .is_some_and(|o| !name.starts_with(o.as_str()))
        {
            continue;
        }
        let verdict = check(&case, &args.folder, bench).unwrap_or_else(|error| {
            eprintln!("egsde: {error:#}");
            let op = case["op"].as_str().unwrap_or("?").to_string();
            Verdict {
                case: name,
                op,
                max_rel_err: f64::INFINITY,
                tolerance: 0.0,
                ok: false,
            }
        });
        if !args.json {
            let Verdict {
                case,
                op,
                max_rel_err,
                tolerance,
                ok,
            } = &verdict;
            println!(
                "{case:24} {op:24} {max_rel_err:.2e} of {tolerance:.0e} {}",
                if *ok { "ok" } else { "FAILED" }
            );
        }
        verdicts.push(verdict);
    }
    let failed = verdicts.iter().filter(|v| !v.ok).count();
    if args.json {
        let mut document = serde_json::json!({"cases": verdicts, "ok": failed == 0});
        if !is_reference {
            let conditions = serde_json::json!({"device": format!("{:?}", args.device), "precision": args.precision, "widen": args.widen});
            document["conditions"] = conditions;
        }
        println!("{document}");
    }
    match failed {
        0 if verdicts.is_empty() => Err(Problem::user(format!(
            "no case in {} matches",
            args.folder.display()
        ))),
        0 => Ok(()),
        n => Err(Problem::No(format!("{n} of {} cases failed", verdicts.len())).into()),
    }
}
