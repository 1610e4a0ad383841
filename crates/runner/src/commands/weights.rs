//! `egsde weights`: weight files of every known format.

use super::measure_noise;
use crate::error::{OrInvalidInput, check_failed, invalid_input};
use crate::project::Project;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_models::checkpoints::{CheckpointPart, in_float32, read_weights};
use egsde_models::networks::NETWORK_KEY;
use egsde_models::weights::{WeightFile, find_mismatches, find_non_finite, write_safetensors};
use egsde_models::{NetworkConfig, synthetic};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::Kind;

/// Arguments of `egsde weights`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Read a PyTorch checkpoint (executing nothing) and write safetensors
    Convert {
        /// PyTorch checkpoint or safetensors
        input: PathBuf,
        /// safetensors
        output: PathBuf,
        /// Take the moving average of ddim's list [model, optimiser, epoch, step, ema]
        #[arg(long)]
        ema: bool,
        /// Network the weights belong to: checked, and stored in the file
        #[arg(long)]
        network: Option<PathBuf>,
    },
    /// Whether a file fits a network, every misfit by key
    Check {
        /// PyTorch checkpoint or safetensors
        file: PathBuf,
        /// YAML file of a network (configs/networks/*.yaml)
        #[arg(long)]
        network: PathBuf,
        /// Take the moving average
        #[arg(long)]
        ema: bool,
    },
    /// Measure the predicted noise of a task's diffusion network on its reference pictures and
    /// write the weights with it (for rows with `variance: analytic`)
    MeasureNoise(measure_noise::Args),
    /// Weights by formula, for trials without the published files
    Synthesize {
        /// YAML file of a network (configs/networks/*.yaml)
        #[arg(long)]
        network: PathBuf,
        /// safetensors
        output: PathBuf,
        /// Factor of all weights' spread
        #[arg(long, default_value_t = 1.0)]
        gain: f64,
    },
}

/// The part of a checkpoint that the option names.
fn checkpoint_part(ema: bool) -> CheckpointPart {
    if ema {
        CheckpointPart::Ema
    } else {
        CheckpointPart::Model
    }
}

/// What does not fit in one line: every key, or every value that is not finite; none when all fits.
fn find_misfits(file: &WeightFile, config: &NetworkConfig) -> Result<Option<String>> {
    if let Some(text) = find_mismatches(&config.weight_shapes()?, &file.tensors) {
        return Ok(Some(text));
    }
    let bad = find_non_finite(&file.tensors);
    Ok((!bad.is_empty()).then(|| format!("NaN or infinity in {}", bad.join(", "))))
}

fn does_not_fit(file: &Path, network: &Path, misfits: &str) -> String {
    format!(
        "{} does not fit {}: {misfits}",
        file.display(),
        network.display()
    )
}

fn convert(
    input: &Path,
    output: &Path,
    part: CheckpointPart,
    network: Option<&Path>,
) -> Result<()> {
    let mut file = read_weights(input, part).or_invalid_input("weights")?;
    if let Some(network) = network {
        let config: NetworkConfig = read_yaml(network)?;
        if let Some(misfits) = find_misfits(&file, &config)? {
            return Err(invalid_input(does_not_fit(input, network, &misfits)));
        }
        file.metadata
            .insert(NETWORK_KEY.into(), serde_json::to_string(&config)?);
    }
    let count = file.tensors.len();
    write_safetensors(output, &in_float32(file), Kind::Float).or_invalid_input("cannot write")?;
    println!("{}: {count} entries", output.display());
    Ok(())
}

fn check(file: &Path, network: &Path, part: CheckpointPart) -> Result<()> {
    let config: NetworkConfig = read_yaml(network)?;
    let weights = read_weights(file, part).or_invalid_input("weights")?;
    if let Some(misfits) = find_misfits(&weights, &config)? {
        return Err(check_failed(does_not_fit(file, network, &misfits)));
    }
    let count = weights.tensors.len();
    println!(
        "{} fits {}: {count} entries",
        file.display(),
        network.display()
    );
    Ok(())
}

fn synthesize(network: &Path, output: &Path, gain: f64) -> Result<()> {
    let config: NetworkConfig = read_yaml(network)?;
    let mut tensors = BTreeMap::new();
    for (key, shape) in config.weight_shapes()? {
        let weight = synthetic::weight(&key, &shape, gain);
        tensors.insert(key, weight);
    }
    let metadata = BTreeMap::from([(NETWORK_KEY.into(), serde_json::to_string(&config)?)]);
    let file = WeightFile { tensors, metadata };
    write_safetensors(output, &file, Kind::Float).or_invalid_input("cannot write")
}

/// Runs the command.
///
/// # Errors
/// Check failed: the file does not fit, for `check`. Invalid input: a file that cannot be read or
/// written, or does not fit.
pub fn run(args: &Args, project: impl FnOnce() -> Result<Project>) -> Result<()> {
    match &args.action {
        Action::Convert {
            input,
            output,
            ema,
            network,
        } => convert(input, output, checkpoint_part(*ema), network.as_deref()),
        Action::Check { file, network, ema } => check(file, network, checkpoint_part(*ema)),
        Action::MeasureNoise(args) => measure_noise::run(args, &project()?),
        Action::Synthesize {
            network,
            output,
            gain,
        } => synthesize(network, output, *gain),
    }
}
