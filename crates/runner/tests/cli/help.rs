//! Completions and manual pages, made from the command line's own description.

use crate::common::{AssertText, assert_has, egsde, files_below};

/// Every command that people call.
const COMMANDS: [&str; 23] = [
    "plan",
    "run",
    "table",
    "claims",
    "compare",
    "report",
    "verify",
    "merge",
    "submit",
    "status",
    "cancel",
    "task",
    "explain",
    "study",
    "eval",
    "weights",
    "parity",
    "check-gpu",
    "data",
    "train",
    "translate",
    "completions",
    "man",
];

#[test]
fn help_names_every_command_and_hides_the_clusters() {
    let help = egsde(&["--help"]).printed();
    let words: Vec<&str> = help
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for command in COMMANDS {
        assert!(words.contains(&command), "{command} is not in {help}");
    }
    assert!(!words.contains(&"slurm-task"), "{help}");
}

#[test]
fn completions_are_written_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = egsde(&["completions", shell]).printed();
        assert_has(&script, &["egsde", "save-every"]);
        assert_has(&script, &COMMANDS);
    }
    egsde(&["completions", "bsh"]).refused(&["bash"]);
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    egsde(&["man", "--out", folder.path().to_str().unwrap()]).success();
    let pages = files_below(folder.path(), ".1");
    let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
    for command in COMMANDS {
        let name = format!("egsde-{command}.1");
        assert!(names.contains(&name.as_str()), "{name} is not in {names:?}");
    }
    let main = pages
        .iter()
        .find(|page| page.name == "egsde.1")
        .expect("egsde.1 is written");
    assert_has(
        &String::from_utf8_lossy(&main.bytes),
        &[".TH", "completions"],
    );
}
