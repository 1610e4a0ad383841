//! What the tests of the command line share: the real binary, experiments in folders of their own.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

pub fn egsde(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_egsde"))
        .args(args)
        .current_dir(root())
        .output()
        .unwrap()
}

/// An experiment file in a folder of its own, run into the same folder.
pub struct Bench {
    pub folder: tempfile::TempDir,
}

pub const TINY: &str = "name: tiny\ntitle: Tiny\ntask: cat2dog-32\npublished: {table: \"1\", task: cat2dog}\nseeds: [1, 2]\npictures: 5\nmethods:\n  - {name: SDEdit, method: sdedit, steps: 10, start: 0.4}\n  - {name: EGSDE, method: egsde, steps: 10, start: 0.4, lambda_s: 20, lambda_i: 0.3}\n  - {name: ILVR, method: ilvr, steps: 5, ilvr_variance: fixedsmall}\n";

impl Bench {
    pub fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("e.yaml"), text).unwrap();
        Self { folder }
    }

    /// The binary on this experiment, into one of its folders.
    pub fn command(&self, command: &str, runs: &str, more: &[&str]) -> Command {
        let file = self.folder.path().join("e.yaml");
        let set = format!("runs_dir={}", self.folder.path().join(runs).display());
        let mut egsde = Command::new(env!("CARGO_BIN_EXE_egsde"));
        egsde
            .args(command.split(' '))
            .args([file.to_str().unwrap(), "--set", &set])
            .args(more)
            .current_dir(root());
        egsde
    }

    pub fn egsde(&self, command: &str, runs: &str, more: &[&str]) -> Output {
        self.command(command, runs, more).output().unwrap()
    }

    /// `egsde verify` on one of its folders.
    pub fn verify(&self, runs: &str) -> Output {
        egsde(&["verify", self.folder.path().join(runs).to_str().unwrap()])
    }

    /// Every file of a run whose name ends so, by its path inside the run, with its bytes.
    pub fn files(&self, runs: &str, end: &str) -> Vec<(String, Vec<u8>)> {
        fn walk(at: &Path, found: &mut Vec<PathBuf>) {
            // A run may be writing there.
            for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, found)
                } else {
                    found.push(path)
                }
            }
        }
        let base = self.folder.path().join(runs);
        let mut paths = Vec::new();
        walk(&base, &mut paths);
        paths.sort();
        let wanted = paths
            .into_iter()
            .filter(|p| p.to_string_lossy().ends_with(end));
        wanted
            .map(|p| {
                (
                    p.strip_prefix(&base).unwrap().display().to_string(),
                    std::fs::read(p).unwrap(),
                )
            })
            .collect()
    }
}

#[track_caller]
pub fn good(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Exit 2 and one line that has all the parts.
#[track_caller]
pub fn refused(output: Output, parts: &[&str]) {
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    parts
        .iter()
        .for_each(|part| assert!(text.contains(part), "{part:?} not in {text:?}"));
}

/// Everything that must be equal: all pictures, their hashes, and the scores without what they were made under.
pub fn result(bench: &Bench, runs: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = [
        bench.files(runs, ".png"),
        bench.files(runs, "images.sha256"),
    ]
    .concat();
    // Not those of a report.
    found.retain(|(name, _)| !name.contains("/report/"));
    for (name, bytes) in bench.files(runs, "scores.json") {
        let mut document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let scores = document["scores"].as_object_mut().unwrap();
        scores.remove("conditions");
        found.push((name, serde_json::to_vec(scores).unwrap()));
    }
    found
}

/// Two results are equal; names what differs, not its bytes.
#[track_caller]
pub fn assert_same_result(bench: &Bench, runs: &str, other: &str) {
    let (left, right) = (result(bench, runs), result(bench, other));
    let names = |files: &[(String, Vec<u8>)]| {
        files
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&left), names(&right));
    let changed: Vec<String> = left
        .iter()
        .zip(&right)
        .filter(|(a, b)| a != b)
        .map(|(a, _)| a.0.clone())
        .collect();
    assert!(
        changed.is_empty(),
        "{runs} and {other} differ in {changed:?}"
    );
}

/// By how many levels of 255 any two pictures of two runs differ.
pub fn largest_difference(a: &[(String, Vec<u8>)], b: &[(String, Vec<u8>)]) -> u8 {
    assert_eq!(a.len(), b.len());
    let pixels = |bytes: &[u8]| {
        image::load_from_memory(bytes)
            .unwrap()
            .into_rgb8()
            .into_raw()
    };
    let pairs = a.iter().zip(b).flat_map(|((_, a), (_, b))| {
        pixels(a)
            .into_iter()
            .zip(pixels(b))
            .map(|(x, y)| x.abs_diff(y))
            .collect::<Vec<_>>()
    });
    pairs.max().unwrap()
}
