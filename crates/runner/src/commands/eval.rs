//! `egsde eval`: the published metrics of any folders.

use crate::error::UserError;
use crate::evaluate::{Evaluation, inception};
use anyhow::Result;
use egsde_metrics::protocol::{PROTOCOLS, Protocol};
use egsde_metrics::statistics_file::to_npz;
use egsde_models::files::{sha256_file, write_atomically};
use std::path::{Path, PathBuf};
use tch::Device;

/// Arguments of `egsde eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of source pictures; without it only FID is computed.
    #[arg(long)]
    source: Option<PathBuf>,
    /// Folder of translated pictures, matched to the sources by file stem.
    #[arg(long)]
    translated: PathBuf,
    /// Folder of reference pictures, or statistics as pytorch-fid saves them (.npz with mu and sigma).
    #[arg(long)]
    target: PathBuf,
    /// How pictures reach FID Inception; afhq is what plain pytorch-fid does.
    #[arg(long, default_value = "afhq", value_parser = PROTOCOLS)]
    protocol: String,
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
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,
    /// Where to compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = crate::device::open_device)]
    device: Device,
}

/// Runs the command.
pub fn run(args: &Args, root: &Path) -> Result<()> {
    let protocol = if args.protocol == "celebahq" {
        Protocol::Celebahq
    } else {
        Protocol::Afhq
    };
    let evaluation = Evaluation {
        protocol,
        inception: inception(&args.inception, args.device)?,
        inception_sha256: sha256_file(&args.inception)?,
        batch: usize::from(args.batch_size),
        device: args.device,
        skip_bad: args.skip_bad,
        cache: root.join("runs/.statistics"),
    };
    let (answer, target) =
        evaluation.run(args.source.as_deref(), &args.translated, &args.target)?;
    if let Some(path) = &args.save_statistics {
        write_atomically(path, &to_npz(&target)?).user("--save-statistics")?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&answer)?);
        return Ok(());
    }
    for (name, value) in &answer.metrics {
        println!("{name:5} {value:.6}");
    }
    println!(
        "{} translated, {} target, {} pairs, protocol {}",
        answer.translated, answer.target, answer.pairs, answer.protocol
    );
    for text in &answer.skipped {
        println!("skipped: {text}");
    }
    Ok(())
}
