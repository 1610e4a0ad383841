//! What a command costs.

use anyhow::{Context, Result, ensure};
use egsde_runner::store::scores::peak_memory_bytes;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;
use wait4::Wait4;

/// What one run of a command took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub seconds: f64,
    /// Largest resident memory, MiB.
    pub mib: f64,
}

/// Runs a command that must end well: with exit code 0, or with 1, which says "no" to what it was
/// asked.
pub fn measure_cost(command: &mut Command) -> Result<Cost> {
    let began = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot run {command:?}"))?;
    let mut errors = String::new();
    let stderr = child.stderr.take();
    stderr
        .context("a child without stderr")?
        .read_to_string(&mut errors)?;
    let used = child.wait4()?;
    let seconds = began.elapsed().as_secs_f64();
    let ended_well = matches!(used.status.code(), Some(0 | 1));
    ensure!(
        ended_well,
        "{command:?} ended with {}: {errors}",
        used.status
    );
    Ok(Cost {
        seconds,
        mib: used.rusage.maxrss as f64 / 1048576.0,
    })
}

/// Does the work once per line of input. Prints its seconds, the largest memory so far in KiB, and
/// its answer: the protocol of `scripts/bench/compare.py`.
pub fn serve_on_demand(mut work: impl FnMut() -> Result<String>) -> Result<()> {
    println!("ready");
    for line in std::io::stdin().lines() {
        line?;
        let began = Instant::now();
        let answer = work()?;
        let (seconds, kib) = (began.elapsed().as_secs_f64(), peak_memory_bytes() / 1024);
        println!("{seconds:.6} {kib} {answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
