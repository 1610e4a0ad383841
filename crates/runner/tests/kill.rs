//! Runs that are killed at random moments end like undisturbed ones.

mod common;

use common::{Bench, good, result};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Small batches, so that there are many moments between writes.
const TEXT: &str = "name: kill\ntitle: Kill\ntask: cat2dog-32\nseeds: [1, 2]\npictures: 12\ngroup: 4\nbatch_size: 4\nmethods:\n  - {name: SDEdit, method: sdedit, steps: 20, start: 0.5}\n  - {name: EGSDE, method: egsde, steps: 20, start: 0.4, lambda_s: 20, lambda_i: 0.3}\n";

fn start(bench: &Bench, runs: &str) -> Child {
    bench
        .command("run", runs, &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .unwrap();
}

/// Kills runs into one folder until one ends by itself; returns how many it took.
fn killed_until_done(
    bench: &Bench,
    runs: &str,
    longest: Duration,
    random: &mut StdRng,
    most: usize,
) -> usize {
    for kills in 0.. {
        let mut child = start(bench, runs);
        let patience = if kills < most {
            random.random_range(0.0..longest.as_secs_f64())
        } else {
            600.0
        };
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < patience {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(
                    status.success(),
                    "an undisturbed end must be a good one: {status}"
                );
                return kills;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        match random.random_range(0..4) {
            0 => signal(&child, "TERM"),
            1 => signal(&child, "INT"),
            _ => signal(&child, "KILL"),
        }
        // One in two gets no time to finish its batch.
        if random.random_bool(0.5) {
            std::thread::sleep(Duration::from_millis(20));
            signal(&child, "KILL");
        }
        child.wait().unwrap();
    }
    unreachable!()
}

/// Rounds of kills, each compared with the undisturbed run, until there were enough.
fn survives(at_least: usize, seed: u64) {
    let bench = Bench::new(TEXT);
    let began = Instant::now();
    good(bench.egsde("run", "undisturbed", &[]));
    // A little longer than a start takes, so that most kills come while pictures are made.
    let longest = began.elapsed().mul_f64(0.6).max(Duration::from_secs(1));
    let want = result(&bench, "undisturbed");
    assert_eq!(want.len(), 4 * (12 + 2));
    let (mut random, mut kills, mut rounds) = (StdRng::seed_from_u64(seed), 0, 0);
    while kills < at_least {
        rounds += 1;
        let runs = format!("killed-{rounds}");
        kills += killed_until_done(&bench, &runs, longest, &mut random, at_least - kills);
        assert!(
            result(&bench, &runs) == want,
            "round {rounds} differs from the undisturbed run"
        );
        assert!(
            bench.files(&format!("{runs}/kill"), ".tmp").is_empty(),
            "a temporary file was left in round {rounds}"
        );
        println!(
            "round {rounds}: {kills} kills so far, pictures, hashes and scores equal the undisturbed run's"
        );
    }
    println!(
        "{kills} kills (SIGKILL, SIGTERM, SIGINT) in {rounds} rounds, {:.0} s: every result equal",
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn killed_runs_end_like_undisturbed_ones() {
    survives(8, 5);
}

/// `just soak`.
#[test]
#[ignore = "takes long: just soak"]
fn soak() {
    let kills = std::env::var("SOAK_KILLS")
        .ok()
        .and_then(|k| k.parse().ok())
        .unwrap_or(100);
    survives(kills, 11);
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let bench = Bench::new(&TEXT.replace("pictures: 12", "pictures: 200"));
        let child = bench
            .command("run", "r", &[])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while bench.files("r", ".png").is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        let last = text.lines().last().unwrap();
        assert!(
            last.contains("interrupted: ") && last.contains("the same command goes on"),
            "{last}"
        );
        // The batch at hand was finished: whole batches, all of them in the ledger.
        let pictures = bench.files("r", ".png").len();
        assert!(
            pictures > 0 && pictures.is_multiple_of(4),
            "{pictures} pictures"
        );
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let bench = Bench::new(
        &TEXT
            .replace("batch_size: 4", "batch_size: 200")
            .replace("pictures: 12", "pictures: 200"),
    );
    let mut child = bench
        .command("run", "r", &[])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while bench.files("r", "job.json").is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        child.try_wait().unwrap().is_none(),
        "the first signal lets the batch end"
    );
    signal(&child, "INT");
    let began = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(5) && bench.files("r", ".png").is_empty());
}

#[test]
fn two_processes_share_the_jobs() {
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "alone", &[]));
    let outputs: Vec<_> = [0; 2]
        .map(|_| {
            bench
                .command("run", "shared", &[])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let ran: usize = outputs
        .iter()
        .map(|output| {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{text}");
            let count = text
                .split("ran ")
                .nth(1)
                .and_then(|t| t.split(' ').next())
                .map_or(0, |n| n.parse().unwrap());
            assert!(count < 4, "one process did everything: {text}");
            count
        })
        .sum();
    assert_eq!(
        ran, 4,
        "each of the four jobs is done by exactly one process"
    );
    assert!(result(&bench, "shared") == result(&bench, "alone"));
}
