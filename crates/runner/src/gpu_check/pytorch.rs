//! Steps of a plain PyTorch loop beside ours, where a Python that has PyTorch is given.

use crate::error::{OrInvalidInput, invalid_input};
use crate::project::Project;
use anyhow::{Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The script that times the loop.
const SCRIPT: &str = "scripts/gpu/bench_pytorch.py";

/// PyTorch's defaults, the usual way to make it faster, and its compiler.
const VARIANTS: [&str; 3] = ["eager", "bf16 channels-last", "compiled bf16 channels-last"];

/// Nothing is begun after so many seconds: one compilation may take minutes.
const MOST_SECONDS: u32 = 420;

/// What one variant took per step.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PytorchStep {
    /// Milliseconds of a step of SDEdit.
    #[serde(default)]
    pub sdedit_ms: Option<f64>,
    /// Milliseconds of a step of EGSDE.
    #[serde(default)]
    pub egsde_ms: Option<f64>,
    /// The most memory that tensors took, GiB; none on a CPU.
    #[serde(default)]
    pub peak_gib: Option<f64>,
    /// Why there are no numbers.
    #[serde(default)]
    pub error: Option<String>,
}

/// What the script writes.
#[derive(Debug, Deserialize)]
struct Report {
    results: BTreeMap<String, PytorchStep>,
}

/// Holds that a Python has PyTorch: the check takes minutes before it is asked to run the script.
///
/// # Errors
/// Invalid input: it cannot be started or cannot import torch, with its own last words.
pub fn check_python(python: &Path) -> Result<()> {
    let imported = Command::new(python).args(["-c", "import torch"]).output();
    let output = imported.or_invalid_input(format!("--python {}", python.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    Err(invalid_input(format!(
        "--python {} cannot import torch ({}): name a Python that has PyTorch, or leave it out",
        python.display(),
        last.unwrap_or("it gives no reason").trim()
    )))
}

/// Times the variants in batches of `batch` images; by their names, as the script has them.
///
/// # Errors
/// Invalid input: a Python that cannot run the script (its own messages went to standard error).
pub fn time_pytorch(
    project: &Project,
    python: &Path,
    folder: &Path,
    device: &str,
    batch: usize,
    is_small: bool,
) -> Result<Vec<(String, PytorchStep)>> {
    std::fs::create_dir_all(folder).or_invalid_input(folder.display())?;
    let answer = folder.join("pytorch.json");
    let mut command = Command::new(python);
    command
        .arg(project.resolve(SCRIPT))
        .args([project.root(), &answer])
        .args(["--device", device.split(':').next().unwrap_or(device)])
        .args(["--batches", &batch.to_string()])
        .args(["--only", &VARIANTS.join(",")])
        .args(["--seconds", &MOST_SECONDS.to_string()])
        .stdout(std::process::Stdio::null());
    if is_small {
        command.arg("--small");
    }
    let status = command.status().or_invalid_input(python.display())?;
    ensure!(status.success(), "{SCRIPT} ended with {status}");
    let text = std::fs::read(&answer).or_invalid_input(answer.display())?;
    let report: Report = serde_json::from_slice(&text).or_invalid_input(answer.display())?;
    let find = |name: &&str| {
        let found = report.results.get(&format!("{name}, batch {batch}"));
        found.map(|step| (name.to_string(), step.clone()))
    };
    Ok(VARIANTS.iter().filter_map(find).collect())
}
