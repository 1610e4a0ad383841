//! Golden cases: whether this build computes what the reference implementations compute. The format
//! is told in `tests/golden/README.md`.

mod case;
mod images;
mod metrics;
mod networks;
mod sampling;

pub use case::ParityOptions;

use anyhow::{Context, Result, bail, ensure};
use case::{Case, Deviation, text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The format of `cases.json` that this version reads.
const FORMAT: &str = "egsde-parity/1";

/// The verdict on one case.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The case's name.
    pub case: String,
    /// What was computed.
    pub op: String,
    /// Of the tensor that came closest to its tolerance, or furthest over it: `max|got - want| /
    /// max|want|`. Of a case about pixels: the difference in 8-bit levels.
    pub max_rel_err: f64,
    /// That tensor's tolerance.
    pub tolerance: f64,
    /// Whether everything stayed within its tolerance.
    pub ok: bool,
}

/// What `cases.json` holds.
#[derive(Debug, Deserialize)]
struct CasesFile {
    format: String,
    cases: Vec<Value>,
}

/// The cases of a folder in order, as JSON.
///
/// # Errors
/// There is no readable `cases.json`, or it has another format.
pub fn read_cases(folder: &Path) -> Result<Vec<Value>> {
    let path = folder.join("cases.json");
    let at = path.display();
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {at}"))?;
    let file: CasesFile = serde_json::from_str(&text).with_context(|| at.to_string())?;
    ensure!(
        file.format == FORMAT,
        "{at}: format {:?}, expected {FORMAT}",
        file.format
    );
    Ok(file.cases)
}

/// Computes one case and compares it with the reference.
///
/// # Errors
/// The case cannot be computed at all: an operation that this version does not know, or a file that
/// is missing or does not fit.
pub fn check_case(case: &Value, folder: &Path, options: ParityOptions) -> Result<Verdict> {
    let name = text(case, "case")?;
    let mut running = Case::open(case, folder, options)?;
    compute(&mut running).with_context(|| format!("case {name}"))?;
    let Deviation { error, tolerance } = running.worst();
    Ok(Verdict {
        case: name.into(),
        op: text(case, "op")?.into(),
        max_rel_err: error,
        tolerance,
        ok: error <= tolerance,
    })
}

fn compute(case: &mut Case) -> Result<()> {
    match text(case.value, "op")? {
        "network_forward" => networks::forward(case),
        "domain_specific_energy" => networks::domain_specific_energy(case),
        "inception_features" => networks::inception(case),
        "low_pass" => sampling::low_pass(case),
        "schedule" => sampling::schedule(case),
        "egsde" => sampling::egsde(case),
        "ilvr" => sampling::ilvr(case),
        "pair_metrics" => metrics::pair_metrics(case),
        "frechet_distance" => metrics::frechet(case),
        "pillow" => images::pillow(case),
        other => bail!("operation {other:?} is not supported by this version"),
    }
}
