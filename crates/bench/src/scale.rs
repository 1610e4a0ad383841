//! Whether the harness's own cost grows as it must: time and memory of its commands over more and
//! more finished jobs.

use crate::generate::SEEDS;
use crate::measure::{Cost, measure_cost};
use anyhow::Result;
use egsde_metrics::averages::median;
use std::path::PathBuf;
use std::process::Command;

/// Arguments of `egsde-bench scale`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many finished jobs.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 100_000])]
    jobs: Vec<usize>,
    /// Runs of each command; their median is shown.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The program.
    #[arg(long, default_value = "target/release/egsde")]
    egsde: PathBuf,
}

/// Medians over the runs of one command of the program.
fn measure_command(args: &Args, arguments: &[&str]) -> Result<Cost> {
    let mut costs = Vec::new();
    for _ in 0..args.repeats {
        costs.push(measure_cost(Command::new(&args.egsde).args(arguments))?);
    }
    Ok(Cost {
        seconds: median(costs.iter().map(|cost| cost.seconds).collect()),
        mib: median(costs.iter().map(|cost| cost.mib).collect()),
    })
}

/// Prints the lines of the table about this many jobs.
fn measure_jobs(args: &Args, jobs: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut generator = Command::new(std::env::current_exe()?);
    measure_cost(
        generator
            .arg("generate")
            .arg(folder.path())
            .arg(jobs.to_string()),
    )?;
    let (file, baseline, out) = (path("scale.yaml"), path("baseline.csv"), path("report"));
    let mut update = Command::new(&args.egsde);
    measure_cost(update.args(["compare", &file, &baseline, "--update", "--yes"]))?;
    let commands: [&[&str]; 4] = [
        &["plan", &file, "--yes"],
        &["table", &file, "--yes"],
        &["compare", &file, &baseline, "--yes"],
        &["report", &file, "--out", &out, "--yes"],
    ];
    for arguments in commands {
        let Cost { seconds, mib } = measure_command(args, arguments)?;
        let (name, jobs) = (arguments[0], jobs.next_multiple_of(SEEDS));
        println!("| `egsde {name}` | {jobs} | {seconds:.3} | {mib:.0} |");
    }
    Ok(())
}

/// Prints a Markdown table.
pub fn run(args: &Args) -> Result<()> {
    println!("| command | jobs | seconds | MiB |\n|---|---:|---:|---:|");
    let Cost { seconds, mib } = measure_command(args, &["--help"])?;
    println!("| `egsde --help` | | {seconds:.3} | {mib:.0} |");
    for jobs in &args.jobs {
        measure_jobs(args, *jobs)?;
    }
    Ok(())
}
