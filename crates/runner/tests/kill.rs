//! Runs that are killed at random moments end like undisturbed ones.

mod common;

use common::{
    AssertText, OutputAssertExt, TestExperiment, assert_has, assert_same_results, assert_same_runs,
    edited, results_of, send_signal,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Four jobs that write often, so that there are many moments between two writes.
const TEXT: &str = r"name: kill
title: Kill
task: cat2dog-32
seeds: [1, 2]
pictures: 12
batch_size: 4
save_every: 4
methods:
  - {name: SDEdit, method: sdedit, steps: 20, start: 0.5}
  - {name: EGSDE, method: egsde, steps: 20, start: 0.4, lambda_s: 20, lambda_i: 0.3}
";

/// Files with results of a finished [`TEXT`]: images, their hashes and scores of four jobs.
const RESULT_FILES: usize = 4 * (12 + 2);

fn start(experiment: &TestExperiment, runs: &str) -> Child {
    let mut run = experiment.command("run", runs, &[]);
    run.stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// Waits until something is so. What it waits for comes, however busy the machine is.
fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a child at most this long; whether it ended, which must be a success.
fn ends_within(child: &mut Child, patience: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(
                status.success(),
                "a run that was not killed must succeed: {status}"
            );
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// Ends a child by a random signal.
fn kill(child: &mut Child, random: &mut StdRng) {
    match random.random_range(0..4) {
        0 => send_signal(child.id(), "TERM"),
        1 => send_signal(child.id(), "INT"),
        _ => send_signal(child.id(), "KILL"),
    }
    // One in two gets no time to finish its batch.
    if random.random_bool(0.5) {
        std::thread::sleep(Duration::from_millis(20));
        send_signal(child.id(), "KILL");
    }
    child.wait().unwrap();
}

/// How long and how often runs are killed.
struct Kills {
    /// The longest that a run lives.
    longest: Duration,
    /// After so many kills a run may end.
    most: usize,
}

/// Kills runs into one folder until one ends by itself; returns how many were killed.
fn killed_until_done(
    experiment: &TestExperiment,
    runs: &str,
    kills: &Kills,
    random: &mut StdRng,
) -> usize {
    let mut count = 0;
    loop {
        let mut child = start(experiment, runs);
        let patience = match count < kills.most {
            true => kills.longest.mul_f64(random.random_range(0.0..1.0)),
            false => Duration::from_secs(600),
        };
        if ends_within(&mut child, patience) {
            return count;
        }
        kill(&mut child, random);
        count += 1;
    }
}

/// Rounds of kills, each compared with the undisturbed run, until there were enough.
fn survive_kills(at_least: usize, seed: u64) {
    let experiment = TestExperiment::new(TEXT);
    let began = Instant::now();
    experiment.run("undisturbed", &[]).success();
    // Most kills come while images are made.
    let longest = began.elapsed().mul_f64(0.6).max(Duration::from_secs(1));
    let undisturbed = results_of(&experiment, "undisturbed");
    assert_eq!(undisturbed.len(), RESULT_FILES);
    let mut random = StdRng::seed_from_u64(seed);
    let (mut count, mut rounds) = (0, 0);
    while count < at_least {
        rounds += 1;
        let runs = format!("killed-{rounds}");
        let kills = Kills {
            longest,
            most: at_least - count,
        };
        count += killed_until_done(&experiment, &runs, &kills, &mut random);
        assert_same_results(&results_of(&experiment, &runs), &undisturbed, &runs);
        let left = experiment.files(&format!("{runs}/kill"), ".tmp");
        assert!(
            left.is_empty(),
            "temporary files were left in {runs}: {left:?}"
        );
        println!("{runs}: {count} kills so far, all results equal the undisturbed run's");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{count} kills (SIGKILL, SIGTERM, SIGINT) in {rounds} rounds, {seconds:.0} s: every result \
         is equal"
    );
}

#[test]
fn killed_runs_end_like_undisturbed_ones() {
    survive_kills(8, 5);
}

/// `just soak`.
#[test]
#[ignore = "takes long: just soak"]
fn soak() {
    let kills = std::env::var("SOAK_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    survive_kills(kills.unwrap_or(100), 11);
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let experiment = TestExperiment::new(&edited(TEXT, "pictures: 12", "pictures: 1000"));
        let mut run = experiment.command("run", "r", &[]);
        let child = run.stderr(Stdio::piped()).spawn().unwrap();
        wait_until(|| !experiment.files("r", ".png").is_empty());
        send_signal(child.id(), name);
        let text = child
            .wait_with_output()
            .unwrap()
            .assert()
            .code(code)
            .error_text();
        let last = text.lines().last().unwrap();
        assert_has(last, &["interrupted: ", "the same command goes on"]);
        // The images at hand were finished: sets of four, all of them with their hashes.
        let images = experiment.files("r", ".png").len();
        assert!(images > 0 && images.is_multiple_of(4), "{images} images");
        let hashes = experiment.files("r", "images.sha256");
        let lines: usize = hashes
            .iter()
            .map(|file| String::from_utf8_lossy(&file.bytes).lines().count())
            .sum();
        assert_eq!(lines, images, "every image has its hash");
    }
}

/// One set of images per job, so that no job writes before its end.
const ONE_WRITE: &str = r"name: kill
title: Kill
task: cat2dog-32
seeds: [1, 2]
pictures: 1000
batch_size: 4
save_every: 1000
methods:
  - {name: SDEdit, method: sdedit, steps: 20, start: 0.5}
  - {name: EGSDE, method: egsde, steps: 20, start: 0.4, lambda_s: 20, lambda_i: 0.3}
";

/// Whether a process has yet to see a signal that was sent to it.
fn has_pending_signal(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    pending.is_some_and(|mask| mask.trim().bytes().any(|digit| digit != b'0'))
}

#[test]
fn a_second_signal_stops_at_once() {
    let experiment = TestExperiment::new(ONE_WRITE);
    let log = experiment.path("log");
    let mut run = experiment.command("run", "r", &[]);
    let mut child = run.stderr(File::create(&log).unwrap()).spawn().unwrap();
    // The first line of progress comes after the first step.
    wait_until(|| read(&log).contains("evaluations"));
    send_signal(child.id(), "INT");
    wait_until(|| !has_pending_signal(child.id()));
    assert!(
        child.try_wait().unwrap().is_none(),
        "the first signal lets the images be finished"
    );
    send_signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // It finished nothing and said nothing more.
    assert!(experiment.files("r", ".png").is_empty());
    assert!(!read(&log).contains("interrupted"), "{}", read(&log));
}

/// The count in "ran 3 jobs"; 0 where nothing was left to do.
fn jobs_ran(log: &str) -> usize {
    let count = log
        .split("ran ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    count.map_or(0, |count| count.parse().unwrap())
}

/// The lock of a job's folder, as a process that works on it holds it.
struct HeldJob(File);

impl HeldJob {
    fn path(folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        folder.join(".lock")
    }

    fn hold(folder: &Path) -> Self {
        let lock = File::create(Self::path(folder)).unwrap();
        lock.try_lock().unwrap();
        Self(lock)
    }

    fn release(self) {
        self.0.unlock().unwrap();
    }

    fn is_held(folder: &Path) -> bool {
        File::create(Self::path(folder))
            .unwrap()
            .try_lock()
            .is_err()
    }
}

/// A run into the folder `shared`, and its log.
struct SharingRun {
    child: Child,
    log: PathBuf,
}

impl SharingRun {
    fn start(experiment: &TestExperiment, log: &str) -> Self {
        let log = experiment.path(log);
        let mut run = experiment.command("run", "shared", &[]);
        let child = run.stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    /// Waits until it has nothing left but jobs that others hold.
    fn wait_until_it_waits(&self) {
        wait_until(|| read(&self.log).contains("that another process works on"));
    }

    /// Lets it stand still; it does so in the end.
    fn stop(&self) {
        send_signal(self.child.id(), "STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_until(|| {
            let fields = read(Path::new(&stat));
            fields
                .rsplit_once(") ")
                .is_some_and(|(_, state)| state.starts_with('T'))
        });
    }

    fn go_on(&self) {
        send_signal(self.child.id(), "CONT");
    }

    /// How many jobs it ran, once it has ended.
    fn jobs_ran(mut self) -> usize {
        assert!(self.child.wait().unwrap().success(), "{}", read(&self.log));
        jobs_ran(&read(&self.log))
    }
}

#[test]
fn two_processes_share_the_jobs() {
    let experiment = TestExperiment::new(TEXT);
    experiment.run("alone", &[]).success();
    let done = std::fs::read_dir(experiment.path("alone/kill")).unwrap();
    let jobs: Vec<PathBuf> = done
        .map(|entry| {
            experiment
                .path("shared/kill")
                .join(entry.unwrap().file_name())
        })
        .collect();
    assert_eq!(jobs.len(), 4);
    // Every job is held until both processes wait.
    let mut held: Vec<HeldJob> = jobs.iter().map(|job| HeldJob::hold(job)).collect();
    let [first, second] = ["first", "second"].map(|log| SharingRun::start(&experiment, log));
    first.wait_until_it_waits();
    second.wait_until_it_waits();
    // The first takes a job while the second is stopped, and then stands still with it.
    second.stop();
    held.remove(0).release();
    wait_until(|| HeldJob::is_held(&jobs[0]) || jobs[0].join("scores.json").exists());
    first.stop();
    // The second gets what the first cannot take.
    second.go_on();
    held.remove(0).release();
    wait_until(|| jobs[1].join("scores.json").exists());
    first.go_on();
    held.into_iter().for_each(HeldJob::release);
    let ran = [first.jobs_ran(), second.jobs_ran()];
    assert!(ran.iter().all(|ran| *ran > 0), "{ran:?}");
    assert_eq!(
        ran.iter().sum::<usize>(),
        4,
        "each of the four jobs is done by exactly one process"
    );
    assert_same_runs(&experiment, "shared", "alone");
}
