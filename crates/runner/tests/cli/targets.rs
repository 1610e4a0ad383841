//! Files and folders that cannot be written or are none: told in one line, before any work, for the
//! true reason.

use crate::FINISHED;
use crate::common::{AssertText, egsde};
use std::path::Path;

/// A picture that ships.
const PICTURE: &str = "datasets/embedded/chelsea.png";

/// A checkpoint that is read whole.
const CHECKPOINT: &str = "crates/models/tests/checkpoints/legacy.pth";

/// Every command that writes where the user says, with `target` in that place.
fn commands_writing_to(target: &str) -> Vec<Vec<String>> {
    let (experiment, runs) = (FINISHED.file(), FINISHED.path("r"));
    let (experiment, runs) = (experiment.to_str().unwrap(), runs.to_str().unwrap());
    let set = format!("runs_dir={runs}");
    let output = format!("output={target}");
    let network = "configs/networks/dse_2_classes_256.yaml";
    let recipe = "configs/training/features.yaml";
    let commands: [&[&str]; 9] = [
        &["report", experiment, "--set", &set, "--out", target],
        &["compare", experiment, target, "--update", "--set", &set],
        &["merge", runs, "--into", target],
        &["weights", "convert", CHECKPOINT, target],
        &["weights", "synthesize", "--network", network, target],
        &[
            "translate",
            PICTURE,
            "--task",
            "cat2dog-32",
            "--out",
            target,
        ],
        &["man", "--out", target],
        &["check-gpu", "--device", "cpu", "--small", "--out", target],
        &["train", recipe, "--set", &output],
    ];
    let owned = |words: &&[&str]| words.iter().map(|word| word.to_string()).collect();
    commands.iter().map(owned).collect()
}

/// Every command must be refused in one line, which no progress may stand before.
#[track_caller]
fn all_refused(target: &str, parts: &[&str]) {
    for command in commands_writing_to(target) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let ended = egsde(&words);
        let ended = ended.append_context("command", format!("{words:?}"));
        let text = ended.error_text();
        ended.refused(parts);
        // No error names a temporary file.
        assert!(!text.contains("at path"), "{words:?}: {text}");
    }
}

#[test]
fn a_target_that_cannot_be_written_is_told_before_any_work() {
    // A file system in which nothing can be made, whoever asks.
    all_refused("/proc/nothing", &["cannot write", "/proc/nothing"]);
    let long = format!("/tmp/{}", "x".repeat(300));
    all_refused(&long, &["cannot write", "File name too long"]);
}

#[test]
fn a_file_in_a_targets_place_stays_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes.md");
    std::fs::write(&notes, "mine").unwrap();
    all_refused(notes.to_str().unwrap(), &["notes.md"]);
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "mine");
    // As a folder it is told of as what it is.
    let inside = notes.join("out");
    let inside = inside.to_str().unwrap();
    egsde(&["man", "--out", inside]).refused(&["notes.md is a file, not a folder"]);
}

#[test]
fn an_empty_path_is_no_path() {
    let reason = ["the path is empty"];
    for command in commands_writing_to("") {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        if words[0] != "train" {
            egsde(&words).refused(&reason);
        }
    }
    for words in [
        &["plan", ""][..],
        &["verify", ""],
        &["weights", "inspect", ""],
        &["plan", "experiments/ci.yaml", "--project", ""],
    ] {
        egsde(words).refused(&reason);
    }
}

#[test]
fn what_is_no_file_is_told_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let read = |path: &Path, parts: &[&str]| {
        let path = path.to_str().unwrap();
        egsde(&["plan", path]).refused(parts);
        egsde(&["weights", "inspect", path]).refused(parts);
    };
    read(folder.path(), &["is a folder"]);
    for (name, target) in [("loop.yaml", "loop.yaml"), ("gone.yaml", "nowhere")] {
        std::os::unix::fs::symlink(target, path(name)).unwrap();
    }
    read(&path("gone.yaml"), &["it is a link to nowhere"]);
    read(&path("loop.yaml"), &["loop.yaml", "symbolic links"]);
    std::fs::write(path("empty.yaml"), "").unwrap();
    let empty = path("empty.yaml");
    egsde(&["plan", empty.to_str().unwrap()]).refused(&["empty.yaml is empty"]);
}
