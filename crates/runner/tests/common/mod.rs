//! What the tests of the command line share: the real binary, experiments in folders of their own,
//! whole projects to change, and how two runs are compared.
//!
//! Each test program uses a part of it.
#![allow(dead_code)]

pub mod assert;
pub mod evaluation;
pub mod images;
pub mod project;

pub use assert::{Assert, OutputAssertExt};

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// The folder of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The real binary in a folder.
pub fn egsde_in(folder: &Path) -> Command {
    let mut egsde = Command::new(env!("CARGO_BIN_EXE_egsde"));
    egsde.current_dir(folder);
    egsde
}

/// The end of the real binary in the checkout, given these arguments.
pub fn egsde(arguments: &[&str]) -> Assert {
    egsde_in(&checkout()).args(arguments).assert()
}

/// Sends a signal to a process by its name, for example INT. The shell's own `kill` is everywhere.
pub fn send_signal(process: u32, name: &str) {
    let kill = format!("kill -{name} {process}");
    Command::new("bash").args(["-c", &kill]).assert().success();
}

/// What these tests ask of the binary's end besides its exit code.
pub trait AssertText {
    /// Standard output.
    fn output_text(&self) -> String;
    /// Standard error.
    fn error_text(&self) -> String;
    /// Standard output of a command that must have succeeded.
    fn printed(self) -> String;
    /// The JSON document that a command printed, which must have succeeded.
    fn printed_json(self) -> Value;
    /// The command must have exited with 2, with one line on standard error that has all parts.
    fn refused(self, parts: &[&str]);
    /// As [`AssertText::refused`], beside lines that do not begin as errors do.
    fn refused_after_log_lines(self, parts: &[&str]);
}

/// The text must have all parts.
#[track_caller]
pub fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

impl AssertText for Assert {
    fn output_text(&self) -> String {
        String::from_utf8_lossy(&self.get_output().stdout).into_owned()
    }

    fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.get_output().stderr).into_owned()
    }

    #[track_caller]
    fn printed(self) -> String {
        self.success().output_text()
    }

    #[track_caller]
    fn printed_json(self) -> Value {
        serde_json::from_str(&self.printed()).unwrap()
    }

    #[track_caller]
    fn refused(self, parts: &[&str]) {
        let text = self.code(2).error_text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_has(&text, parts);
    }

    #[track_caller]
    fn refused_after_log_lines(self, parts: &[&str]) {
        let text = self.code(2).error_text();
        let errors: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("egsde:"))
            .collect();
        assert_eq!(errors.len(), 1, "{text}");
        assert_has(errors[0], parts);
    }
}

/// A text with one part replaced, which must be there.
#[track_caller]
pub fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in {text:?}");
    text.replace(from, to)
}

/// Two rows of eight images, written four at a time.
pub const TWO_ROWS: &str = r"name: f
title: F
task: cat2dog-32
seeds: [1]
pictures: 8
batch_size: 4
save_every: 4
methods:
  - {name: SDEdit, method: sdedit, steps: 10, start: 0.4}
  - {name: EGSDE, method: egsde, steps: 10, start: 0.4, lambda_s: 20, lambda_i: 0.3}
";

/// Interrupts a command whose standard error is piped; returns what it printed there.
#[track_caller]
pub fn interrupt(child: Child) -> String {
    send_signal(child.id(), "INT");
    let end = child.wait_with_output().unwrap().assert();
    end.code(130).error_text()
}

/// A row of a printed table.
#[track_caller]
pub fn table_row<'a>(table: &'a Value, method: &str) -> &'a Value {
    let rows = table["rows"].as_array().unwrap();
    let found = rows
        .iter()
        .find(|row| row["method"] == method && row["source"] == "ours");
    found.unwrap_or_else(|| panic!("no row {method} in {table}"))
}

/// The mean of a metric in a row of a printed table.
#[track_caller]
pub fn table_mean(table: &Value, method: &str, metric: &str) -> f64 {
    let mean = &table_row(table, method)["metrics"][metric]["mean"];
    mean.as_f64()
        .unwrap_or_else(|| panic!("{method} has no {metric} in {table}"))
}

/// The keys of the metrics that one job, or an evaluation, has.
pub fn metric_keys(scores: &Value) -> BTreeSet<String> {
    let metrics = scores["metrics"].as_object().unwrap();
    metrics.keys().cloned().collect()
}

/// What a printed plan says of each job whose name begins so, for example `done`.
pub fn job_states<'a>(plan: &'a str, begins: &str) -> Vec<&'a str> {
    let lines = plan
        .lines()
        .filter(|line| line.trim_start().starts_with(begins));
    lines
        .map(|line| line.split_whitespace().nth(1).unwrap_or_default())
        .collect()
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// A file of a run.
#[derive(Clone, PartialEq)]
pub struct RunFile {
    /// Its path inside the run.
    pub name: String,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for RunFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.name, self.bytes.len())
    }
}

impl RunFile {
    /// Its JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

/// Paths of all files below a folder. A run may be writing there.
fn paths_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            paths_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every file below a folder whose name ends so, by name.
pub fn files_below(folder: &Path, end: &str) -> Vec<RunFile> {
    let mut paths = Vec::new();
    paths_below(folder, &mut paths);
    paths.sort();
    let mut files = Vec::new();
    for path in paths
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(end))
    {
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        // A temporary file may get its name between the two looks.
        if let Ok(bytes) = std::fs::read(path) {
            files.push(RunFile { name, bytes });
        }
    }
    files
}

/// An experiment file in a folder of its own, run into folders beside it.
pub struct TestExperiment {
    folder: PathBuf,
    /// Removes the folder in the end; none of one that all tests of a program share.
    _temporary: Option<tempfile::TempDir>,
}

impl TestExperiment {
    /// An experiment file of this text.
    pub fn new(text: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_path_buf();
        std::fs::write(folder.join("e.yaml"), text).unwrap();
        Self {
            folder,
            _temporary: Some(temporary),
        }
    }

    /// An experiment file that all tests of a program share, in a folder of this name that the next
    /// such program empties.
    pub fn shared(name: &str, text: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("e.yaml"), text).unwrap();
        Self {
            folder,
            _temporary: None,
        }
    }

    /// An experiment of its own with all that lies in this one's folder.
    pub fn copy(&self) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        copy_folder(&self.folder, temporary.path());
        Self {
            folder: temporary.path().to_path_buf(),
            _temporary: Some(temporary),
        }
    }

    /// A path inside its folder.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.join(inside)
    }

    /// The experiment file.
    pub fn file(&self) -> PathBuf {
        self.path("e.yaml")
    }

    /// Gives the experiment file another text.
    pub fn rewrite(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// The binary on this experiment, whose runs lie in one of its folders.
    pub fn command(&self, command: &str, runs: &str, options: &[&str]) -> Command {
        let set = format!("runs_dir={}", self.path(runs).display());
        let mut egsde = egsde_in(&checkout());
        egsde
            .args(command.split(' '))
            .arg(self.file())
            .args(["--set", &set])
            .args(options);
        egsde
    }

    /// The end of [`TestExperiment::command`].
    pub fn egsde(&self, command: &str, runs: &str, options: &[&str]) -> Assert {
        self.command(command, runs, options).assert()
    }

    /// The end of `egsde run`.
    pub fn run(&self, runs: &str, options: &[&str]) -> Assert {
        self.egsde("run", runs, options)
    }

    /// The table as JSON.
    #[track_caller]
    pub fn table(&self, runs: &str) -> Value {
        self.egsde("table", runs, &["--json"]).printed_json()
    }

    /// The end of `egsde verify` on one of its folders.
    pub fn verify(&self, runs: &str) -> Assert {
        egsde(&["verify", self.path(runs).to_str().unwrap()])
    }

    /// Every file of a run whose name ends so, by name.
    pub fn files(&self, runs: &str, end: &str) -> Vec<RunFile> {
        files_below(&self.path(runs), end)
    }

    /// The contents of every scores file of a run, by name.
    pub fn scores(&self, runs: &str) -> Vec<Value> {
        self.files(runs, "scores.json")
            .iter()
            .map(|file| file.json()["scores"].take())
            .collect()
    }
}

/// A scores file without the conditions under which its numbers were made.
fn without_conditions(file: &RunFile) -> RunFile {
    let mut scores = file.json()["scores"].take();
    let fields = scores.as_object_mut().unwrap();
    fields
        .remove("sampling")
        .expect("scores have the conditions of sampling");
    let mut scoring = fields
        .remove("scoring")
        .expect("scores have the conditions of scoring");
    fields.insert("identity".into(), scoring["identity"].take());
    RunFile {
        name: file.name.clone(),
        bytes: serde_json::to_vec(&scores).unwrap(),
    }
}

/// Everything that must be equal in two runs: all images, their hashes, and the scores without the
/// conditions under which they were made.
pub fn results_of(experiment: &TestExperiment, runs: &str) -> Vec<RunFile> {
    let mut found = experiment.files(runs, ".png");
    found.extend(experiment.files(runs, "images.sha256"));
    // Images of a report are no results.
    found.retain(|file| !file.name.contains("/report/"));
    found.extend(
        experiment
            .files(runs, "scores.json")
            .iter()
            .map(without_conditions),
    );
    found
}

/// The results must be equal; names what differs.
#[track_caller]
pub fn assert_same_results(left: &[RunFile], right: &[RunFile], context: &str) {
    let left_names: Vec<&str> = left.iter().map(|file| file.name.as_str()).collect();
    let right_names: Vec<&str> = right.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(left_names, right_names, "{context}");
    let pairs = left.iter().zip(right).filter(|(left, right)| left != right);
    let changed: Vec<&str> = pairs.map(|(left, _)| left.name.as_str()).collect();
    assert!(changed.is_empty(), "{context}: {changed:?} differ");
}

/// Two runs of an experiment must have equal results.
#[track_caller]
pub fn assert_same_runs(experiment: &TestExperiment, runs: &str, other: &str) {
    let (left, right) = (results_of(experiment, runs), results_of(experiment, other));
    assert_same_results(&left, &right, &format!("{runs} and {other}"));
}
