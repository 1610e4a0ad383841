//! `egsde weights`: weight files of every known format.

use super::measure_noise;
use super::overwrite::{COMMAND_KEY, Output, check_apart};
use super::weights_inspection as inspection;
use crate::error::{OrInvalidInput, check_failed, invalid_input};
use crate::paths::path_parser;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_data::text::first_few;
use egsde_models::checkpoints::{Checkpoint, CheckpointPart, Entry, in_float32, read_checkpoint};
use egsde_models::networks::{NETWORK_KEY, read_checkpoint_of};
use egsde_models::weights::{WeightFile, find_mismatches, find_non_finite, to_safetensors};
use egsde_models::{NetworkConfig, synthetic};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::Kind;

/// Entries left aside that are told.
const MOST_LISTED: usize = 8;

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
        #[arg(value_parser = path_parser())]
        input: PathBuf,
        /// safetensors
        #[arg(value_parser = path_parser())]
        output: PathBuf,
        #[command(flatten)]
        part: PartArgs,
        /// Network the weights belong to: checked, and stored in the file
        #[arg(long, value_parser = path_parser())]
        network: Option<PathBuf>,
        /// Write over an existing file
        #[arg(long)]
        force: bool,
    },
    /// Whether a file fits a network, every misfit by key
    Check {
        /// PyTorch checkpoint or safetensors
        #[arg(value_parser = path_parser())]
        file: PathBuf,
        /// YAML file of a network (configs/networks/*.yaml)
        #[arg(long, value_parser = path_parser())]
        network: PathBuf,
        #[command(flatten)]
        part: PartArgs,
    },
    /// What a file holds: nesting, keys, shapes, kinds, size, and the likely network
    Inspect {
        /// PyTorch checkpoint or safetensors
        #[arg(value_parser = path_parser())]
        file: PathBuf,
        #[command(flatten)]
        part: PartArgs,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Measure the predicted noise of a task's diffusion network on its reference pictures and
    /// write the weights with it (for rows with `variance: analytic`)
    MeasureNoise(measure_noise::Args),
    /// Weights by formula, for trials without the published files
    Synthesize {
        /// YAML file of a network (configs/networks/*.yaml)
        #[arg(long, value_parser = path_parser())]
        network: PathBuf,
        /// safetensors
        #[arg(value_parser = path_parser())]
        output: PathBuf,
        /// Factor of all weights' spread
        #[arg(long, default_value_t = 1.0)]
        gain: f64,
        /// Write over an existing file
        #[arg(long)]
        force: bool,
    },
}

/// Which weights of a file that holds several sets of them.
#[derive(Debug, clap::Args)]
struct PartArgs {
    /// Take the moving average, beside the weights or in ddim's list
    #[arg(long)]
    ema: bool,
    /// Keys of the weights, joined by dots (model, state_dict.net); behind them may stand what the
    /// tensors' names begin with
    #[arg(long, conflicts_with = "ema")]
    key: Option<String>,
}

impl PartArgs {
    fn part(&self) -> CheckpointPart<'_> {
        match &self.key {
            Some(key) => CheckpointPart::Key(key),
            None if self.ema => CheckpointPart::Ema,
            None => CheckpointPart::Model,
        }
    }
}

/// Reads the weights of a network; a mistake in the configuration or the file is the user's.
fn read_fitting(path: &Path, part: &PartArgs, config: &NetworkConfig) -> Result<Checkpoint> {
    read_checkpoint_of(path, part.part(), config).or_invalid_input("weights")
}

/// What does not fit in one line: every key, or every value that is not finite; none when all fits.
fn find_misfits(file: &WeightFile, config: &NetworkConfig) -> Result<Option<String>> {
    if let Some(text) = find_mismatches(&config.weight_shapes()?, &file.tensors) {
        return Ok(Some(text));
    }
    let bad = find_non_finite(&file.tensors);
    Ok((!bad.is_empty()).then(|| format!("NaN or infinity in {}", bad.join(", "))))
}

fn misfit_text(file: &Path, network: &Path, misfits: &str) -> String {
    format!(
        "{} does not fit {}: {misfits}",
        file.display(),
        network.display()
    )
}

/// The first entries that were left aside, in one line.
fn list_entries(entries: &[Entry]) -> String {
    let listed = entries
        .iter()
        .map(|Entry { key, what }| format!("{key} ({what})"));
    first_few(listed, MOST_LISTED)
}

/// How many entries were taken, from where, and what was left aside.
fn describe(checkpoint: &Checkpoint) -> String {
    let mut text = format!("{} entries", checkpoint.weights.tensors.len());
    if !checkpoint.key.is_empty() {
        text += &format!(" of {}", checkpoint.key);
    }
    if !checkpoint.left_aside.is_empty() {
        text += &format!("; left aside: {}", list_entries(&checkpoint.left_aside));
    }
    text
}

/// What `egsde weights convert` is asked for.
struct Conversion<'a> {
    input: &'a Path,
    output: Output<'a>,
    part: &'a PartArgs,
    network: Option<&'a Path>,
}

fn convert(conversion: &Conversion) -> Result<()> {
    let Conversion { input, output, .. } = *conversion;
    check_apart(input, output.path)?;
    let mut checkpoint;
    if let Some(network) = conversion.network {
        let config: NetworkConfig = read_yaml(network)?;
        checkpoint = read_fitting(input, conversion.part, &config)?;
        let file = &mut checkpoint.weights;
        if let Some(misfits) = find_misfits(file, &config)? {
            return Err(invalid_input(misfit_text(input, network, &misfits)));
        }
        file.metadata
            .insert(NETWORK_KEY.into(), serde_json::to_string(&config)?);
    } else {
        checkpoint = read_checkpoint(input, conversion.part.part()).or_invalid_input("weights")?;
    }
    output.check()?;
    let text = describe(&checkpoint);
    let mut file = in_float32(checkpoint.weights);
    file.metadata
        .insert(COMMAND_KEY.into(), output.command.into());
    let bytes = to_safetensors(&file, Kind::Float).or_invalid_input(input.display())?;
    output.write(&bytes)?;
    writeln!(stdout(), "{}: {text}", output.path.display())
}

fn check(file: &Path, network: &Path, part: &PartArgs) -> Result<()> {
    let config: NetworkConfig = read_yaml(network)?;
    let checkpoint = read_fitting(file, part, &config)?;
    if let Some(misfits) = find_misfits(&checkpoint.weights, &config)? {
        return Err(check_failed(misfit_text(file, network, &misfits)));
    }
    writeln!(
        stdout(),
        "{} fits {}: {}",
        file.display(),
        network.display(),
        describe(&checkpoint)
    )
}

fn synthesize(network: &Path, output: Output, gain: f64) -> Result<()> {
    output.check()?;
    let config: NetworkConfig = read_yaml(network)?;
    let mut tensors = BTreeMap::new();
    for (key, shape) in config.weight_shapes()? {
        let weight = synthetic::weight(&key, &shape, gain);
        tensors.insert(key, weight);
    }
    let metadata = BTreeMap::from([
        (NETWORK_KEY.into(), serde_json::to_string(&config)?),
        (COMMAND_KEY.into(), output.command.into()),
    ]);
    let file = WeightFile { tensors, metadata };
    output.write(&to_safetensors(&file, Kind::Float)?)
}

/// Runs the command.
///
/// # Errors
/// Check failed: the file does not fit, for `check`. Invalid input: a file that cannot be read or
/// written, does not fit, or would be written over another one.
pub fn run(args: &Args, project: impl FnOnce() -> Result<Project>) -> Result<()> {
    match &args.action {
        Action::Convert {
            input,
            output,
            part,
            network,
            force,
        } => convert(&Conversion {
            input,
            output: Output {
                path: output,
                command: "weights convert",
                force: *force,
            },
            part,
            network: network.as_deref(),
        }),
        Action::Check {
            file,
            network,
            part,
        } => check(file, network, part),
        Action::Inspect { file, part, json } => inspection::print(file, part.part(), *json),
        Action::MeasureNoise(args) => measure_noise::run(args, &project()?),
        Action::Synthesize {
            network,
            output,
            gain,
            force,
        } => {
            let output = Output {
                path: output,
                command: "weights synthesize",
                force: *force,
            };
            synthesize(network, output, *gain)
        }
    }
}
