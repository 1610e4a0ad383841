//! What a command costs.

use anyhow::{Context, Result, ensure};
use egsde_runner::store::peak_memory_bytes;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;
use wait4::Wait4;

/// Of one run.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub seconds: f64,
    /// Largest resident memory, MiB.
    pub mib: f64,
}

/// Runs a command that must end well (exit code 0, or 1: "the answer is no").
pub fn cost(command: &mut Command) -> Result<Cost> {
    let began = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let mut said = String::new();
    child
        .stderr
        .take()
        .context("no stderr")?
        .read_to_string(&mut said)?;
    let used = child.wait4()?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(
        matches!(used.status.code(), Some(0 | 1)),
        "{command:?} ended with {}: {said}",
        used.status
    );
    Ok(Cost {
        seconds,
        mib: used.rusage.maxrss as f64 / 1048576.0,
    })
}

/// The middle of some numbers.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Does the work once for each line of input and prints its seconds, the largest memory so far in KiB, and its answer: what
/// `scripts/bench/compare` talks to.
pub fn on_demand(mut work: impl FnMut() -> Result<String>) -> Result<()> {
    println!("ready");
    for line in std::io::stdin().lines() {
        line?;
        let began = Instant::now();
        let answer = work()?;
        println!(
            "{:.6} {} {answer}",
            began.elapsed().as_secs_f64(),
            peak_memory_bytes() / 1024
        );
        std::io::stdout().flush()?;
    }
    Ok(())
}
