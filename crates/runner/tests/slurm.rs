//! `egsde submit | status | cancel` against a real Slurm on this machine; skipped, with a plain message, where there is none.

mod common;

use common::{Bench, assert_same_result, good, refused, root};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A running Slurm; it ends with this value.
struct Slurm(tempfile::TempDir);

fn script(command: &str, folder: &Path, more: &[&str]) -> Output {
    Command::new(root().join("scripts/slurm"))
        .arg(command)
        .arg(folder)
        .args(more)
        .output()
        .unwrap()
}

impl Slurm {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let started = script("start", folder.path(), &["2"]);
        let said = String::from_utf8_lossy(&started.stderr).to_string();
        if started.status.code() == Some(2) {
            eprintln!("skipped, no Slurm here: {said}");
            return None;
        }
        assert!(started.status.success(), "{said}");
        Some(Self(folder))
    }

    fn controller(&self, command: &str) {
        assert!(script(command, self.0.path(), &[]).status.success());
    }

    fn conf(&self) -> PathBuf {
        self.0.path().join("slurm.conf")
    }

    #[track_caller]
    fn ask(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program)
            .args(args)
            .env("SLURM_CONF", self.conf())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn egsde(&self, bench: &Bench, command: &str, more: &[&str]) -> Output {
        bench
            .command(command, "cluster runs", more)
            .env("SLURM_CONF", self.conf())
            .output()
            .unwrap()
    }

    /// State of a task of array `array`.
    fn state(&self, array: u64, index: usize) -> String {
        let lines = self.ask(
            "squeue",
            &["--array", "--noheader", "--states=all", "--format=%F_%K %T"],
        );
        let name = format!("{array}_{index} ");
        lines
            .lines()
            .find_map(|l| l.trim().strip_prefix(&name))
            .unwrap_or("gone")
            .to_string()
    }

    fn is_empty(&self) -> bool {
        self.ask("squeue", &["--noheader"]).trim().is_empty()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        script("stop", self.0.path(), &[]);
    }
}

#[track_caller]
fn wait(what: &str, until: impl Fn() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "waited too long: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The number in "(array 12)".
fn array(said: &Output) -> u64 {
    let text = String::from_utf8_lossy(&said.stderr).to_string();
    assert!(said.status.success(), "{text}");
    text.split("(array ")
        .nth(1)
        .and_then(|t| t.split([',', ')']).next()?.parse().ok())
        .unwrap_or_else(|| panic!("{text}"))
}

/// Process that runs a task.
fn process(task: usize) -> Option<i32> {
    let end = format!("\0{task}\0");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .find_map(|entry| {
            let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let is = line.contains("egsde\0task\0")
                && line.contains("cluster runs")
                && line.ends_with(&end);
            is.then(|| entry.file_name().to_str()?.parse().ok())?
        })
}

/// Table 1 with few pictures.
fn table1() -> Bench {
    let text = std::fs::read_to_string(root().join("experiments/table1.yaml")).unwrap();
    let pictures = text.lines().find(|l| l.starts_with("pictures: ")).unwrap();
    Bench::new(&text.replace(pictures, "pictures: 3"))
}

#[test]
fn killed_cancelled_requeued_and_without_controller_it_ends_in_the_same_table() {
    let Some(slurm) = Slurm::start() else { return };
    let bench = table1();
    // A picture a batch, so that every task can be stopped in its middle.
    let id = array(&slurm.egsde(&bench, "submit", &["--tasks", "8", "--batch-size", "1"]));
    // Everything is in the queue already.
    let again = slurm.egsde(&bench, "submit", &["--tasks", "8"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing to submit"));

    wait("first process", || process(0).is_some());
    Command::new("kill")
        .args(["-9", &process(0).unwrap().to_string()])
        .status()
        .unwrap();
    slurm.ask("scancel", &[&format!("{id}_7")]);
    wait("a task to requeue", || process(2).is_some());
    slurm.ask("scontrol", &["requeue", &format!("{id}_2")]);
    // Its time is nearly over, says Slurm: it goes back into the queue by itself.
    let log = |i: usize| {
        let runs = bench.folder.path().join("cluster runs");
        let path = runs.join(format!("table1/.slurm/1/logs/{id}_{i}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    };
    // Whichever runs by now: on a quick machine the next one may be over already. A second signal would end it at once.
    let signal = |i: usize| {
        let mut scancel = Command::new("scancel");
        scancel
            .args(["--signal=USR1", "--batch", &format!("{id}_{i}")])
            .env("SLURM_CONF", slurm.conf());
        scancel.output().unwrap().status.success()
    };
    let signalled = Cell::new(0);
    wait("a task to signal", || {
        let found =
            (3..7).find(|i| process(*i).is_some() && log(*i).contains("evaluations") && signal(*i));
        signalled.set(found.unwrap_or(0));
        found.is_some()
    });
    wait("it to go back", || {
        log(signalled.get()).contains("back into the queue for the 1. time")
    });
    slurm.controller("pause");
    refused(
        slurm.egsde(&bench, "status", &[]),
        &["Slurm refuses (squeue)"],
    );
    slurm.controller("restart");

    wait("the end", || slurm.is_empty());
    assert_eq!(slurm.state(id, 0), "FAILED");
    // A restarted controller remembers nothing of a task that was cancelled before it began.
    assert!(["CANCELLED", "gone"].contains(&slurm.state(id, 7).as_str()));
    let status = slurm.egsde(&bench, "status", &[]);
    let (said, line) = (
        String::from_utf8(status.stdout).unwrap(),
        String::from_utf8(status.stderr).unwrap(),
    );
    assert!(
        status.status.code() == Some(1)
            && line.contains("2 tasks ended without all of their results"),
        "{said}{line}"
    );
    for part in [
        format!("task 0 ({id}_0) failed"),
        format!("task 7 ({id}_7) "),
        format!("logs/{id}_0.log"),
        "6 done".into(),
    ] {
        assert!(said.contains(&part), "{part:?} not in {said}");
    }

    array(&slurm.egsde(&bench, "submit", &[]));
    wait("the rest", || slurm.is_empty());
    let status = good(slurm.egsde(&bench, "status", &[]));
    assert!(
        status.contains("12 of 12 jobs done") && !status.contains("task "),
        "{status}"
    );
    // In one process, without Slurm.
    good(bench.egsde("run", "alone", &[]));
    assert_same_result(&bench, "cluster runs", "alone");
    let table = |runs: &str| good(bench.egsde("table", runs, &["--json"]));
    assert_eq!(table("cluster runs"), table("alone"));
    // What the collecting job drew and printed.
    let collected = bench.files("cluster runs", "logs/collect.log");
    let last = String::from_utf8_lossy(&collected.last().unwrap().1).to_string();
    assert!(last.contains("| EGSDE"), "{last}");
    assert_eq!(bench.files("cluster runs", "report/index.html").len(), 1);
}

#[test]
fn bad_input_gets_one_line_and_leaves_nothing() {
    let Some(slurm) = Slurm::start() else { return };
    let bench = table1();
    refused(
        slurm.egsde(&bench, "submit", &["--partition", "nosuch"]),
        &["Slurm refuses (sbatch)", "invalid partition"],
    );
    refused(
        slurm.egsde(&bench, "submit", &["--site", "exmaple-gpu"]),
        &["did you mean `example-gpu`?"],
    );
    refused(
        slurm.egsde(&bench, "submit", &["--device", "gpu"]),
        &["no device \"gpu\""],
    );
    refused(
        slurm.egsde(&bench, "submit", &["--tasks", "9000"]),
        &["MaxJobCount"],
    );
    assert!(bench.files("cluster runs", "submission.json").is_empty());
    let mut lost = bench.command("submit", "cluster runs", &[]);
    refused(
        lost.env("PATH", "/nowhere").output().unwrap(),
        &["no scontrol on the path", "egsde run --shard"],
    );
    let never = good(slurm.egsde(&bench, "status", &[]));
    assert!(never.contains("never submitted"), "{never}");

    // The experiment is changed before its tasks begin: they refuse.
    let id = array(&slurm.egsde(&bench, "submit", &["--tasks", "2", "--sbatch=--hold"]));
    let file = bench.folder.path().join("e.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("pictures: 3", "pictures: 2")).unwrap();
    slurm.ask("scontrol", &["release", &id.to_string()]);
    wait("both to refuse", || {
        (0..2).all(|i| slurm.state(id, i) == "FAILED")
    });
    std::fs::write(&file, &text).unwrap();
    let status = slurm.egsde(&bench, "status", &[]);
    let said = String::from_utf8(status.stdout).unwrap();
    assert!(
        said.matches("was changed since it was submitted").count() == 2,
        "{said}"
    );
    // Only the collecting job is left, held.
    good(slurm.egsde(&bench, "cancel", &[]));
    assert!(slurm.is_empty());

    // A node that does not see the folder.
    let submission = bench.folder.path().join("cluster runs/table1/.slurm/1");
    let moved = bench.folder.path().join("moved");
    std::fs::rename(&submission, &moved).unwrap();
    let output = Command::new("bash")
        .arg(moved.join("task.sh"))
        .arg("0")
        .env("SLURM_ARRAY_TASK_ID", "0")
        .output()
        .unwrap();
    refused(
        output,
        &["does not see", "submission.json", "where every node sees"],
    );
}

#[test]
fn a_hundred_thousand_jobs_are_split_and_answered_at_once() {
    let Some(slurm) = Slurm::start() else { return };
    let values = |n: usize| {
        (1..=n)
            .map(|i| (i as f64 / 10.0).to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let sweep = format!(
        "sweep: {{grid: {{lambda_s: [{}], lambda_i: [{}]}}}}\n",
        values(250),
        values(100)
    );
    let row = "  - {name: E, method: egsde, steps: 10, start: 0.4, lambda_s: 20, lambda_i: 0.3}\n";
    let head =
        "name: huge\ntitle: Huge\ntask: cat2dog-32\nseeds: [1, 2, 3, 4]\npictures: 64\nmethods:\n";
    let bench = Bench::new(&format!("{head}{row}{sweep}"));
    refused(
        slurm.egsde(&bench, "submit", &["--sbatch=--hold"]),
        &["100000 jobs", "--yes"],
    );
    let began = Instant::now();
    let first = slurm.egsde(
        &bench,
        "submit",
        &["--yes", "--sbatch=--hold", "--max-parallel", "20"],
    );
    let submitting = began.elapsed();
    array(&first);
    let said = String::from_utf8_lossy(&first.stderr).to_string();
    assert!(
        said.contains("submitted 100000 jobs as 5000 tasks"),
        "{said}"
    );
    let lines = slurm.ask("squeue", &["--noheader", "--format=%F %K"]);
    let arrays: Vec<&str> = lines.lines().filter(|l| l.contains('-')).collect();
    // 5,000 tasks in arrays of at most 1,001, four of each at one time.
    assert_eq!(arrays.len(), 5, "{lines}");
    assert!(
        arrays.iter().all(|l| l.trim_end().ends_with("%4")),
        "{lines}"
    );
    let began = Instant::now();
    let status = good(slurm.egsde(&bench, "status", &["--yes"]));
    eprintln!(
        "submission of 100,000 jobs {submitting:?}, status {:?}",
        began.elapsed()
    );
    assert!(status.contains("5000 tasks: 5000 pending"), "{status}");
    good(slurm.egsde(&bench, "cancel", &["--yes"]));
    assert!(slurm.is_empty());
}
