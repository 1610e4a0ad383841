//! Golden cases: whether this build computes what the reference implementations compute. The format
//! is told in `tests/golden/README.md`.

mod case;
mod gan_images;
mod gan_losses;
mod gan_networks;
mod gan_steps;
mod images;
mod metrics;
mod networks;
mod sampling;
mod stargan_v2;

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
    /// The name of that tensor among the case's expectations; empty where it has none.
    pub tensor: String,
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
        tensor: running.worst_name().into(),
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
        "generator_forward" => gan_networks::generator_forward(case),
        "checkpoint_forward" => gan_networks::checkpoint_forward(case),
        "discriminator_forward" => gan_networks::discriminator_forward(case),
        "patch_features" => gan_networks::patch_features(case),
        "stargan_v2_mapping" => stargan_v2::mapping(case),
        "stargan_v2_style" => stargan_v2::style(case),
        "stargan_v2_generator" => stargan_v2::generator(case),
        "stargan_v2_reference" => stargan_v2::reference(case),
        "stargan_v2_discriminator" => stargan_v2::discriminator(case),
        "wing_heatmaps" => stargan_v2::wing_heatmaps(case),
        "wing_masks" => stargan_v2::wing_masks(case),
        "gan_picture_in" => gan_images::picture_in(case),
        "gan_picture_out" => gan_images::picture_out(case),
        "gan_loss" => gan_losses::gan_loss(case),
        "patch_nce" => gan_losses::patch_nce(case),
        "nce_picture_grad" => gan_losses::nce_image_gradient(case),
        "adam" => gan_losses::adam(case),
        "gan_lr" => gan_losses::learning_rates(case),
        "image_pool" => gan_losses::image_pool(case),
        "cut_steps" => gan_steps::cut(case),
        "cyclegan_steps" => gan_steps::cyclegan(case),
        other => bail!("operation {other:?} is not supported by this version"),
    }
}
