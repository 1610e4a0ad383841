//! `egsde submit | status | cancel` against a real Slurm on this machine; left out where there is
//! none.

mod common;
#[path = "common/needs.rs"]
mod needs;

use common::{
    Assert, AssertText, OutputAssertExt, TestExperiment, assert_has, assert_same_runs, checkout,
    edited, send_signal,
};
use needs::tests;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

/// A printed table without the times of sampling, which no two runs have alike.
fn without_times(mut table: Value) -> Value {
    for row in table["rows"].as_array_mut().unwrap() {
        let metrics = row["metrics"].as_object_mut().unwrap();
        for metric in ["seconds", "network_seconds"] {
            metrics.remove(metric);
        }
    }
    table
}

/// The folder of the runs; its name has a blank on purpose.
const RUNS: &str = "cluster runs";

/// A running Slurm; it ends with this value.
struct Slurm(tempfile::TempDir);

/// `scripts/slurm.sh COMMAND FOLDER ...`.
fn slurm_script(command: &str, folder: &Path, options: &[&str]) -> Output {
    let mut script = Command::new(checkout().join("scripts/slurm.sh"));
    script
        .arg(command)
        .arg(folder)
        .args(options)
        .output()
        .unwrap()
}

impl Slurm {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        slurm_script("start", folder.path(), &["2"])
            .assert()
            .success();
        Self(folder)
    }

    /// Stops or restarts the controller.
    fn controller(&self, command: &str) {
        slurm_script(command, self.0.path(), &[]).assert().success();
    }

    fn conf(&self) -> PathBuf {
        self.0.path().join("slurm.conf")
    }

    /// One of Slurm's own commands.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("SLURM_CONF", self.conf());
        command
    }

    /// What one of Slurm's own commands prints.
    #[track_caller]
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        self.command(program, arguments).assert().printed()
    }

    /// The end of the binary on an experiment.
    fn egsde(&self, experiment: &TestExperiment, command: &str, options: &[&str]) -> Assert {
        experiment
            .command(command, RUNS, options)
            .env("SLURM_CONF", self.conf())
            .assert()
    }

    /// State of a task of an array.
    fn state(&self, array: u64, task: usize) -> String {
        let options = ["--array", "--noheader", "--states=all", "--format=%F_%K %T"];
        let lines = self.ask("squeue", &options);
        let name = format!("{array}_{task} ");
        let state = lines
            .lines()
            .find_map(|line| line.trim().strip_prefix(&name));
        state.unwrap_or("gone").to_string()
    }

    /// Lets a held task begin and stops it once it listens to signals; its process.
    fn release_and_stop(&self, array: u64, task: usize) -> u32 {
        self.ask("scontrol", &["release", &format!("{array}_{task}")]);
        let process = wait_for("a task's process", || task_process(task));
        wait_until("it to listen", || listens(process, USR1));
        send_signal(process, "STOP");
        process
    }

    /// Lets every held job begin.
    fn release_all(&self) {
        let options = ["--noheader", "--states=pending", "--format=%i"];
        for job in self.ask("squeue", &options).lines() {
            self.ask("scontrol", &["release", job.trim()]);
        }
    }

    fn is_empty(&self) -> bool {
        self.ask("squeue", &["--noheader"]).trim().is_empty()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        slurm_script("stop", self.0.path(), &[]);
    }
}

/// Nothing takes so long, however busy the machine is: it only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until something is there.
#[track_caller]
fn wait_for<T>(what: &str, find: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until something is so.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// The number in "(array 12)" of a submission, which must have succeeded.
#[track_caller]
fn submitted_array(submission: Assert) -> u64 {
    let text = submission.success().error_text();
    let number = text
        .split("(array ")
        .nth(1)
        .and_then(|rest| rest.split([',', ')']).next());
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no array in {text}"))
}

/// The number of SIGUSR1.
const USR1: u32 = 10;

/// A line of a process's /proc/PID/status; none where the process is over.
fn process_status(process: u32, key: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim().to_string())
}

/// Whether a process handles a signal itself.
fn listens(process: u32, signal: u32) -> bool {
    let bits = process_status(process, "SigCgt");
    let bits = bits.and_then(|bits| u64::from_str_radix(&bits, 16).ok());
    bits.is_some_and(|bits| bits >> (signal - 1) & 1 == 1)
}

/// The process that started another.
#[track_caller]
fn parent(process: u32) -> u32 {
    process_status(process, "PPid").unwrap().parse().unwrap()
}

/// The name of a process's program.
#[track_caller]
fn process_name(process: u32) -> String {
    process_status(process, "Name").unwrap()
}

/// The process that runs a task of these tests.
fn task_process(task: usize) -> Option<u32> {
    let end = format!("\0{task}\0");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.contains("egsde\0slurm-task\0") && line.contains(RUNS) && line.ends_with(&end) {
            return entry.file_name().to_str()?.parse().ok();
        }
    }
    None
}

/// Four rows at three seeds, of so few images and evaluations that the queue decides the time.
const EXPERIMENT: &str = r"name: queue
title: Four rows in a queue
task: cat2dog-32
seeds: [1, 2, 3]
pictures: 3
compare_to: SDEdit
methods:
  - name: ILVR
    method: ilvr
    steps: 10
    low_pass_factor: 8
    range_t: 3
    ilvr_variance: fixedsmall
  - {name: SDEdit, method: sdedit, steps: 20, start: 0.4}
  - {name: EGSDE, method: egsde, steps: 20, start: 0.4, lambda_s: 30, low_pass_factor: 4}
  - {name: EGSDE†, method: egsde, steps: 20, start: 0.5, lambda_s: 30, low_pass_factor: 4}
";

/// The log of a task of the first submission.
fn task_log(experiment: &TestExperiment, array: u64, task: usize) -> String {
    let name = format!("queue/.slurm/1/logs/{array}_{task}.log");
    std::fs::read_to_string(experiment.path(RUNS).join(name)).unwrap_or_default()
}

fn killed_cancelled_requeued_and_without_controller_it_ends_in_the_same_table() {
    let slurm = Slurm::start();
    let experiment = TestExperiment::new(EXPERIMENT);
    // One image per write, so that every task can be stopped in its middle. Everything is held, so
    // that no task is over before its turn, however quick the machine is.
    let options = ["--tasks", "8", "--save-every", "1", "--sbatch=--hold"];
    let array = submitted_array(slurm.egsde(&experiment, "submit", &options));
    // Everything is in the queue already.
    let again = slurm.egsde(&experiment, "submit", &["--tasks", "8"]);
    assert_has(&again.error_text(), &["nothing to submit"]);

    send_signal(slurm.release_and_stop(array, 0), "KILL");
    slurm.ask("scancel", &[&format!("{array}_7")]);
    slurm.release_and_stop(array, 2);
    slurm.ask("scontrol", &["requeue", &format!("{array}_2")]);
    // A task whose time is nearly over goes back into the queue by itself. Slurm signals the
    // process that it started (B: in `sbatch --signal`), and a second signal would end it at once:
    // `scancel` sends more than one when the controller is busy, so it is sent from here.
    let stopped = slurm.release_and_stop(array, 3);
    assert_eq!(process_name(parent(stopped)), "slurmstepd");
    send_signal(stopped, "USR1");
    send_signal(stopped, "CONT");
    wait_until("it to go back", || {
        let log = task_log(&experiment, array, 3);
        log.contains("back into the queue for the 1. time")
    });
    slurm.release_all();
    slurm.controller("pause");
    slurm
        .egsde(&experiment, "status", &[])
        .refused(&["Slurm refuses (squeue)"]);
    slurm.controller("restart");

    wait_until("the end", || slurm.is_empty());
    assert_eq!(slurm.state(array, 0), "FAILED");
    // A restarted controller remembers nothing of a task that was cancelled before it began.
    assert!(["CANCELLED", "gone"].contains(&slurm.state(array, 7).as_str()));
    let status = slurm.egsde(&experiment, "status", &[]).code(1);
    assert_has(
        &status.error_text(),
        &["2 tasks ended without all of their results"],
    );
    let text = status.output_text();
    assert_has(
        &text,
        &[
            &format!("task 0 ({array}_0) failed"),
            &format!("task 7 ({array}_7) "),
        ],
    );
    assert_has(&text, &[&format!("logs/{array}_0.log"), "6 done"]);

    submitted_array(slurm.egsde(&experiment, "submit", &[]));
    wait_until("the rest", || slurm.is_empty());
    let status = slurm.egsde(&experiment, "status", &[]).printed();
    assert!(
        status.contains("12 of 12 jobs done") && !status.contains("task "),
        "{status}"
    );
    // In one process, without Slurm.
    experiment.run("alone", &[]).success();
    assert_same_runs(&experiment, RUNS, "alone");
    let [together, alone] = [RUNS, "alone"].map(|runs| without_times(experiment.table(runs)));
    assert_eq!(together, alone);
    // What the collecting job drew and printed.
    let collected = experiment.files(RUNS, "logs/collect.log");
    let last = String::from_utf8_lossy(&collected.last().unwrap().bytes).into_owned();
    assert_has(&last, &["| EGSDE"]);
    assert_eq!(experiment.files(RUNS, "report/index.html").len(), 1);
}

/// Options of `egsde submit` and what their refusal names.
struct RefusedOptions {
    options: &'static [&'static str],
    parts: &'static [&'static str],
}

const REFUSED_OPTIONS: [RefusedOptions; 4] = [
    RefusedOptions {
        options: &["--partition", "nosuch"],
        parts: &["Slurm refuses (sbatch)", "invalid partition"],
    },
    RefusedOptions {
        options: &["--site", "exmaple-gpu"],
        parts: &["did you mean `example-gpu`?"],
    },
    RefusedOptions {
        options: &["--device", "gpu"],
        parts: &["no device \"gpu\""],
    },
    RefusedOptions {
        options: &["--tasks", "9000"],
        parts: &["MaxJobCount"],
    },
];

fn bad_input_gets_one_line_and_leaves_nothing() {
    let slurm = Slurm::start();
    let experiment = TestExperiment::new(EXPERIMENT);
    for RefusedOptions { options, parts } in REFUSED_OPTIONS {
        slurm.egsde(&experiment, "submit", options).refused(parts);
    }
    assert!(experiment.files(RUNS, "submission.json").is_empty());
    let mut lost = experiment.command("submit", RUNS, &[]);
    let parts = ["no scontrol on the path", "egsde run --shard"];
    lost.env("PATH", "/nowhere").assert().refused(&parts);
    let never = slurm.egsde(&experiment, "status", &[]).printed();
    assert_has(&never, &["never submitted"]);

    // The experiment is changed before its tasks begin: they refuse.
    let options = ["--tasks", "2", "--sbatch=--hold"];
    let array = submitted_array(slurm.egsde(&experiment, "submit", &options));
    let text = std::fs::read_to_string(experiment.file()).unwrap();
    experiment.rewrite(&edited(&text, "pictures: 3", "pictures: 2"));
    slurm.ask("scontrol", &["release", &array.to_string()]);
    wait_until("both to refuse", || {
        (0..2).all(|task| slurm.state(array, task) == "FAILED")
    });
    experiment.rewrite(&text);
    let status = slurm.egsde(&experiment, "status", &[]).output_text();
    assert_eq!(
        status.matches("was changed since it was submitted").count(),
        2,
        "{status}"
    );
    // Only the collecting job is left, held.
    slurm.egsde(&experiment, "cancel", &[]).success();
    assert!(slurm.is_empty());

    // A node that does not see the folder.
    let submission = experiment.path(RUNS).join("queue/.slurm/1");
    let moved = experiment.path("moved");
    std::fs::rename(&submission, &moved).unwrap();
    let mut task = Command::new("bash");
    task.arg(moved.join("task.sh"))
        .arg("0")
        .env("SLURM_ARRAY_TASK_ID", "0");
    task.assert()
        .refused(&["does not see", "submission.json", "where every node sees"]);
}

/// One row at four seeds, before its sweep.
const HUGE: &str = r"name: huge
title: Huge
task: cat2dog-32
seeds: [1, 2, 3, 4]
pictures: 64
methods:
  - {name: E, method: egsde, steps: 10, start: 0.4, lambda_s: 20, lambda_i: 0.3}
";

/// `count` numbers from 0.1 on, as YAML lists them.
fn tenths(count: usize) -> String {
    let values = (1..=count).map(|value| (value as f64 / 10.0).to_string());
    values.collect::<Vec<_>>().join(", ")
}

fn a_hundred_thousand_jobs_are_split_and_answered_at_once() {
    let slurm = Slurm::start();
    let (lambda_s, lambda_i) = (tenths(250), tenths(100));
    let sweep = format!("sweep: {{grid: {{lambda_s: [{lambda_s}], lambda_i: [{lambda_i}]}}}}\n");
    let experiment = TestExperiment::new(&format!("{HUGE}{sweep}"));
    let parts = ["100000 jobs", "--yes"];
    slurm
        .egsde(&experiment, "submit", &["--sbatch=--hold"])
        .refused(&parts);
    let began = Instant::now();
    let options = ["--yes", "--sbatch=--hold", "--max-parallel", "20"];
    let submission = slurm.egsde(&experiment, "submit", &options);
    let submitting = began.elapsed();
    assert_has(
        &submission.error_text(),
        &["submitted 100000 jobs as 5000 tasks"],
    );
    submitted_array(submission);
    let lines = slurm.ask("squeue", &["--noheader", "--format=%F %K"]);
    let arrays: Vec<&str> = lines.lines().filter(|line| line.contains('-')).collect();
    // 5,000 tasks in arrays of at most 1,001, four of each at one time.
    assert_eq!(arrays.len(), 5, "{lines}");
    assert!(
        arrays.iter().all(|line| line.trim_end().ends_with("%4")),
        "{lines}"
    );
    let began = Instant::now();
    let status = slurm.egsde(&experiment, "status", &["--yes"]).printed();
    let asking = began.elapsed();
    eprintln!("submission of 100,000 jobs {submitting:?}, status {asking:?}");
    assert_has(&status, &["5000 tasks: 5000 pending"]);
    slurm.egsde(&experiment, "cancel", &["--yes"]).success();
    assert!(slurm.is_empty());
}

/// What this machine lacks of a Slurm, in the script's words.
fn missing() -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let checked = slurm_script("check", folder.path(), &[]);
    let text = String::from_utf8_lossy(&checked.stderr).trim().to_string();
    (!checked.status.success()).then(|| format!("needs Slurm: {text}"))
}

fn main() -> ExitCode {
    needs::run(
        missing(),
        tests![
            killed_cancelled_requeued_and_without_controller_it_ends_in_the_same_table,
            bad_input_gets_one_line_and_leaves_nothing,
            a_hundred_thousand_jobs_are_split_and_answered_at_once,
        ],
    )
}
