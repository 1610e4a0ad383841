//! How far the golden cases that the device computes lie from the reference, in each precision.

use super::Setting;
use crate::config::precision::Precision;
use crate::parity::{ParityOptions, Verdict, check_case, read_cases};
use crate::runtime::console::log;
use anyhow::Result;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tch::Device;

/// Operations of networks, whose errors depend on the precision.
const NETWORK_OPERATIONS: [&str; 4] =
    ["network_forward", "domain_specific_energy", "egsde", "ilvr"];

/// Operations that are float32 in every precision.
const ALWAYS_FLOAT32: [&str; 2] = ["low_pass", "inception_features"];

/// The error that an operation of networks may have in a precision where the reference's own
/// tolerance, which is meant for float32 on a CPU, allows less.
///
/// ILVR may have ten times as much where networks are rounded: it starts from pure noise, where the
/// prediction of the image divides the network's error by `sqrt(alpha_bar)`, 0.006 at T. On a CPU
/// its cases have up to 0.16 in bf16, all others at most 0.022.
fn least_tolerance(op: &str, precision: Precision) -> f64 {
    match (precision, op) {
        (Precision::F32, _) => 1e-4,
        (Precision::Tf32, "ilvr") => 5e-2,
        (Precision::Tf32, _) => 5e-3,
        (Precision::Bf16, "ilvr") => 3e-1,
        (Precision::Bf16, _) => 3e-2,
    }
}

/// A case's largest error in each setting.
#[derive(Debug, Clone)]
pub struct CaseErrors {
    /// The case's name.
    pub case: String,
    /// The verdicts; what could not be computed has the error NaN.
    pub verdicts: BTreeMap<String, Verdict>,
}

/// The verdict on one case in a setting; none of a case that no device computes.
fn check_on_device(
    case: &Value,
    folder: &Path,
    device: Device,
    setting: Setting,
) -> Option<Verdict> {
    let precision = setting.precision;
    let op = case["op"].as_str().unwrap_or_default();
    let least_tolerance = match op {
        op if NETWORK_OPERATIONS.contains(&op) => least_tolerance(op, precision),
        op if ALWAYS_FLOAT32.contains(&op) => 0.0,
        _ => return None,
    };
    let options = ParityOptions {
        device,
        kind: precision.kind(),
        least_tolerance,
        ..ParityOptions::default()
    };
    Some(check_case(case, folder, options).unwrap_or_else(|error| {
        let name = case["case"].as_str().unwrap_or_default();
        writeln!(log(), "egsde: {name} in {setting}: {error:#}");
        Verdict {
            case: name.into(),
            op: op.into(),
            max_rel_err: f64::NAN,
            tensor: String::new(),
            tolerance: least_tolerance,
            ok: false,
        }
    }))
}

/// The errors of all cases that a device computes, in each of `settings`.
///
/// # Errors
/// There are no readable cases in `folder`.
pub fn case_errors(folder: &Path, device: Device, settings: &[Setting]) -> Result<Vec<CaseErrors>> {
    let cases = read_cases(folder)?;
    let mut found: Vec<CaseErrors> = Vec::new();
    for setting in settings {
        // What was left out of `settings` is refused here; nothing else is.
        setting.prepare(device)?;
        for case in &cases {
            let Some(verdict) = check_on_device(case, folder, device, *setting) else {
                continue;
            };
            let place = found.iter().position(|other| other.case == verdict.case);
            let place = place.unwrap_or_else(|| {
                found.push(CaseErrors {
                    case: verdict.case.clone(),
                    verdicts: BTreeMap::new(),
                });
                found.len() - 1
            });
            let verdicts = &mut found[place].verdicts;
            verdicts.insert(setting.to_string(), verdict);
        }
        writeln!(log(), "check-gpu: parity in {setting} is computed");
    }
    Ok(found)
}
