//! `egsde weights convert | check | synthesize`: weight files of every known format.

use crate::error::{Problem, UserError};
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_models::checkpoint::{Which, in_float32, read_weights};
use egsde_models::network::{NETWORK_KEY, variables};
use egsde_models::weights::{WeightFile, misfits, not_finite, write_safetensors};
use egsde_models::{NetworkConfig, synthetic};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tch::Kind;

/// Arguments of `egsde weights`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read a PyTorch checkpoint (executing nothing) and write safetensors
    Convert {
        input: PathBuf,
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
        file: PathBuf,
        /// YAML file of a network (networks/*.yaml)
        #[arg(long)]
        network: PathBuf,
        /// Take the moving average
        #[arg(long)]
        ema: bool,
    },
    /// Weights by formula, for trials without the published files
    Synthesize {
        #[arg(long)]
        network: PathBuf,
        output: PathBuf,
        #[arg(long, default_value_t = 1.0)]
        gain: f64,
    },
}

fn which(ema: bool) -> Which {
    if ema { Which::Ema } else { Which::Model }
}

/// Nothing, or one line with every key that does not fit and every value that is not finite.
fn check(file: &WeightFile, config: &NetworkConfig) -> Result<Option<String>> {
    if let Some(text) = misfits(&variables(config)?, &file.tensors) {
        return Ok(Some(text));
    }
    let bad = not_finite(&file.tensors);
    Ok((!bad.is_empty()).then(|| format!("NaN or infinity in {}", bad.join(", "))))
}

/// Runs the command. `check` exits with 1 when the file does not fit.
pub fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Convert {
            input,
            output,
            ema,
            network,
        } => {
            let mut file = read_weights(input, which(*ema)).user("weights")?;
            if let Some(path) = network {
                let config: NetworkConfig = read_yaml(path)?;
                if let Some(text) = check(&file, &config)? {
                    return Err(Problem::user(format!(
                        "{} does not fit {}: {text}",
                        input.display(),
                        path.display()
                    )));
                }
                file.metadata
                    .insert(NETWORK_KEY.into(), serde_json::to_string(&config)?);
            }
            let count = file.tensors.len();
            write_safetensors(output, &in_float32(file), Kind::Float).user("cannot write")?;
            println!("{}: {count} entries", output.display());
            Ok(())
        }
        What::Check { file, network, ema } => {
            let config: NetworkConfig = read_yaml(network)?;
            let weights = read_weights(file, which(*ema)).user("weights")?;
            match check(&weights, &config)? {
                Some(text) => Err(Problem::No(format!(
                    "{} does not fit {}: {text}",
                    file.display(),
                    network.display()
                ))
                .into()),
                None => {
                    println!(
                        "{} fits {}: {} entries",
                        file.display(),
                        network.display(),
                        weights.tensors.len()
                    );
                    Ok(())
                }
            }
        }
        What::Synthesize {
            network,
            output,
            gain,
        } => {
            let config: NetworkConfig = read_yaml(network)?;
            let tensors = variables(&config)?
                .into_iter()
                .map(|(key, shape)| (key.clone(), synthetic::weight(&key, &shape, *gain)))
                .collect();
            let metadata =
                BTreeMap::from([(NETWORK_KEY.to_string(), serde_json::to_string(&config)?)]);
            write_safetensors(output, &WeightFile { tensors, metadata }, Kind::Float)
                .user("cannot write")
        }
    }
}
