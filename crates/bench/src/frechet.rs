//! Times the Fréchet distance of two files of statistics on demand, beside `scripts/bench/metrics_reference.py frechet`.

use crate::measure::on_demand;
use anyhow::Result;
use egsde_metrics::frechet::frechet_distance;
use egsde_metrics::statistics_file;
use std::path::PathBuf;

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
        statistics_file::read(&args.a)?,
        statistics_file::read(&args.b)?,
    );
    on_demand(|| Ok(format!("{:.9}", frechet_distance(&a, &b)?)))
}
