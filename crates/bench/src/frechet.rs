//! Times the Fréchet distance of two files of statistics on demand, beside `scripts/bench/metrics_reference.py frechet`.

use anyhow::Result;
use egsde_metrics::frechet::frechet_distance;
use egsde_metrics::statistics_file;
use egsde_runner::store::peak_memory_bytes;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `egsde-bench frechet`.
#[derive(Debug, clap::Args)]
pub struct Args {
    a: PathBuf,
    b: PathBuf,
    #[arg(long)]
    threads: i32,
}

/// Reads a line, prints seconds, the largest memory so far in KiB, and the distance; until its input ends.
pub fn run(args: &Args) -> Result<()> {
    tch::set_num_threads(args.threads);
    let (a, b) = (statistics_file::read(&args.a)?, statistics_file::read(&args.b)?);
    println!("ready");
    for line in std::io::stdin().lines() {
        line?;
        let began = Instant::now();
        let distance = frechet_distance(&a, &b)?;
        println!("{:.6} {} {distance:.9}", began.elapsed().as_secs_f64(), peak_memory_bytes() / 1024);
        std::io::stdout().flush()?;
    }
    Ok(())
}
