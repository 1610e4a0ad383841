//! Times the Fréchet distance of two files of statistics on demand, beside
//! `scripts/bench/metrics_reference.py frechet`.

use crate::measure::serve_on_demand;
use anyhow::Result;
use egsde_metrics::fid_statistics;
use egsde_metrics::frechet::frechet_distance;
use std::path::PathBuf;

/// Features of FID's Inception.
const FEATURES: i64 = 2048;

/// Arguments of `egsde-bench frechet`.
#[derive(Debug, clap::Args)]
pub struct Args {
    a: PathBuf,
    b: PathBuf,
    #[arg(long)]
    threads: i32,
}

/// Answers with the distance.
pub fn run(args: &Args) -> Result<()> {
    tch::set_num_threads(args.threads);
    let (a, b) = (
        fid_statistics::read(&args.a, FEATURES)?,
        fid_statistics::read(&args.b, FEATURES)?,
    );
    serve_on_demand(|| Ok(format!("{:.9}", frechet_distance(&a, &b)?)))
}
