//! `egsde eval`: the published metrics of any folders.

use crate::error::OrInvalidInput;
use crate::plan::experiment_args::parse_count;
use crate::project::Project;
use crate::runtime::device::open_device;
use crate::scoring::folders::{FolderEvaluator, FolderScores, open_inception};
use crate::scoring::reference::ReferenceCache;
use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use egsde_data::files::{sha256_file, write_atomically};
use egsde_metrics::fid_statistics::to_npz;
use egsde_metrics::protocol::Protocol;
use egsde_metrics::registry::METRICS;
use std::path::{Path, PathBuf};
use tch::Device;

/// Arguments of `egsde eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of source pictures; without it only the metrics over sets are computed (FID, ...).
    #[arg(long)]
    source: Option<PathBuf>,
    /// Folder of translated pictures, matched to the sources by file stem.
    #[arg(long)]
    translated: PathBuf,
    /// Folder of reference pictures, or statistics as pytorch-fid saves them (.npz with mu and
    /// sigma), which give FID alone of the metrics over sets.
    #[arg(long)]
    target: PathBuf,
    /// How pictures reach FID Inception; afhq is what plain pytorch-fid does.
    #[arg(long, default_value = "afhq", value_parser = protocol_parser())]
    protocol: Protocol,
    /// FID Inception's weights (PyTorch file or safetensors).
    #[arg(
        long,
        default_value = "checkpoints/pt_inception-2015-12-05-6726825d.pth"
    )]
    inception: PathBuf,
    /// Leave out unreadable, unmatched and wrongly sized pictures; the answer lists them.
    #[arg(long)]
    skip_bad: bool,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
    /// Also write the target's statistics here, in pytorch-fid's format.
    #[arg(long)]
    save_statistics: Option<PathBuf>,
    /// Pictures that go through the network together.
    #[arg(long, default_value_t = 50, value_parser = parse_count)]
    batch_size: usize,
    /// Where to compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = open_device)]
    device: Device,
}

/// Reads a protocol by its name.
fn protocol_parser() -> impl TypedValueParser<Value = Protocol> {
    PossibleValuesParser::new(Protocol::ALL.map(Protocol::name))
        .try_map(|name| Protocol::from_name(&name).ok_or("no such protocol"))
}

/// Width of the metrics' names.
const NAME_WIDTH: usize = 14;

fn print_scores(scores: &FolderScores) {
    for metric in METRICS {
        if let Some(value) = scores.metrics.get(metric.key) {
            println!("{:NAME_WIDTH$} {value:.6}", metric.key);
        }
    }
    println!(
        "{} translated, {} target, {} pairs, protocol {}",
        scores.translated, scores.target, scores.pairs, scores.protocol
    );
    for text in &scores.skipped {
        println!("skipped: {text}");
    }
}

/// Runs the command.
///
/// # Errors
/// Those of [`FolderEvaluator::evaluate`], and files that cannot be read or written.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let evaluator = FolderEvaluator {
        protocol: args.protocol,
        inception: open_inception(&args.inception, args.device)?,
        inception_sha256: sha256_file(&args.inception)?,
        metrics: METRICS.to_vec(),
        batch_size: args.batch_size,
        device: args.device,
        skip_bad: args.skip_bad,
        cache: ReferenceCache::new(project.reference_cache(Path::new("runs"))),
    };
    let source = args.source.as_deref();
    let (scores, reference) = evaluator.evaluate(source, &args.translated, &args.target)?;
    if let Some(path) = &args.save_statistics {
        let bytes = to_npz(&reference.statistics)?;
        write_atomically(path, &bytes).or_invalid_input("--save-statistics")?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&scores)?);
    } else {
        print_scores(&scores);
    }
    Ok(())
}
