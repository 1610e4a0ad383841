//! `egsde parity`: the golden cases.

use crate::config::precision::Precision;
use crate::error::{OrInvalidInput, check_failed, invalid_input};
use crate::parity::{ParityOptions, Verdict, check_case, read_cases};
use crate::paths::path_parser;
use crate::runtime::console::{log, stdout};
use crate::runtime::device::{device_name, open_device};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;
use tch::Device;

/// Arguments of `egsde parity`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with a cases.json (format: crates/runner/tests/golden/README.md).
    #[arg(value_parser = path_parser())]
    folder: PathBuf,
    /// Only cases whose name starts so.
    #[arg(long)]
    only: Option<String>,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
    /// Where the networks compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = open_device)]
    device: Device,
    /// Working precision of the networks.
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// Multiply every tolerance by this (a GPU or bf16 needs more room); printed with the result.
    #[arg(long, default_value_t = 1.0, value_parser = parse_widening)]
    widen: f64,
}

/// Reads a factor of 1 or more.
fn parse_widening(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if factor.is_finite() && factor >= 1.0 {
        Ok(factor)
    } else {
        Err("must be 1 or more".into())
    }
}

impl Args {
    /// Whether the conditions are those of the reference: float32 on the CPU, its own tolerances.
    fn is_reference(&self) -> bool {
        self.widen == 1.0 && self.precision == Precision::F32 && self.device == Device::Cpu
    }

    fn print_conditions(&self) -> Result<()> {
        let device = device_name(self.device);
        writeln!(
            stdout(),
            "{device}, {}, tolerances widened {} times",
            self.precision,
            self.widen
        )
    }

    /// The JSON document of all verdicts.
    fn document(&self, verdicts: &[Verdict], ok: bool) -> Value {
        let mut document = json!({"cases": verdicts, "ok": ok});
        if !self.is_reference() {
            document["conditions"] = json!({
                "device": device_name(self.device),
                "precision": self.precision,
                "widen": self.widen,
            });
        }
        document
    }
}

/// The verdict on a case; one that cannot be checked has failed, and the reason is printed.
fn check_or_fail(case: &Value, name: &str, args: &Args) -> Verdict {
    let options = ParityOptions {
        device: args.device,
        kind: args.precision.kind(),
        widen: args.widen,
        ..ParityOptions::default()
    };
    check_case(case, &args.folder, options).unwrap_or_else(|error| {
        writeln!(log(), "egsde: {error:#}");
        Verdict {
            case: name.into(),
            op: case["op"].as_str().unwrap_or("?").into(),
            max_rel_err: f64::INFINITY,
            tensor: String::new(),
            tolerance: 0.0,
            ok: false,
        }
    })
}

fn print_verdict(verdict: &Verdict) -> Result<()> {
    let Verdict {
        case,
        op,
        max_rel_err,
        tensor,
        tolerance,
        ok,
    } = verdict;
    let word = match ok {
        true => "ok".into(),
        false => format!("FAILED {tensor}"),
    };
    writeln!(
        stdout(),
        "{case:24} {op:24} {max_rel_err:.2e} of {tolerance:.0e} {}",
        word.trim_end()
    )
}

/// Runs the command.
///
/// # Errors
/// Check failed: a case fails or cannot be checked. Invalid input: no case matches.
pub fn run(args: &Args) -> Result<()> {
    args.precision.prepare(args.device).map_err(invalid_input)?;
    if !args.json && !args.is_reference() {
        args.print_conditions()?;
    }
    let mut verdicts: Vec<Verdict> = Vec::new();
    for case in read_cases(&args.folder).or_invalid_input("parity")? {
        let name = case["case"].as_str().unwrap_or("?");
        if args
            .only
            .as_ref()
            .is_some_and(|only| !name.starts_with(only))
        {
            continue;
        }
        let verdict = check_or_fail(&case, name, args);
        if !args.json {
            print_verdict(&verdict)?;
        }
        verdicts.push(verdict);
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.ok).count();
    if args.json {
        writeln!(stdout(), "{}", args.document(&verdicts, failed == 0))?;
    }
    match failed {
        0 if verdicts.is_empty() => {
            let folder = args.folder.display();
            Err(invalid_input(format!("no case in {folder} matches")))
        }
        0 => Ok(()),
        count => Err(check_failed(format!(
            "{count} of {} cases failed",
            verdicts.len()
        ))),
    }
}
