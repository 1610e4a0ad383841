//! The commands of README, CONTRIBUTING and `docs/`: each stands in `tests/fixtures/commands.txt`
//! with what runs it, or why nothing can. A new command fails until it is listed; one that is gone
//! fails until it is removed.

mod common;

use common::{AssertText, OutputAssertExt, assert_has, checkout, egsde_in, files_below};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What runs a command.
#[derive(Debug)]
enum RunBy {
    /// This test does, in the checkout; it exits with this code.
    Here(i32),
    /// A test that runs it, or the same with smaller numbers.
    Test { file: String, name: String },
    /// `.ci/run`, which has this text.
    Ci(String),
    /// Prose names it; its help must be there.
    Mention,
    /// Nothing can here.
    Needs(String),
}

impl RunBy {
    fn parse(text: &str) -> Self {
        let (kind, rest) = text.split_once(": ").unwrap_or((text, ""));
        match kind {
            "here" => Self::Here(rest.parse().unwrap()),
            "test" => {
                let (file, name) = rest.split_once(": ").unwrap();
                Self::Test {
                    file: file.into(),
                    name: name.into(),
                }
            }
            "ci" => Self::Ci(rest.into()),
            "mention" => Self::Mention,
            "needs" if !rest.is_empty() => Self::Needs(rest.into()),
            _ => panic!("what runs it: {text:?}?"),
        }
    }
}

/// What `tests/fixtures/commands.txt` lists.
fn listed() -> BTreeMap<String, RunBy> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/commands.txt");
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut listed = BTreeMap::new();
    for line in lines {
        let (command, run_by) = line.split_once("  =>  ").unwrap();
        let before = listed.insert(command.to_string(), RunBy::parse(run_by));
        assert!(before.is_none(), "{command} is listed twice");
    }
    listed
}

/// Programs with which a command of the documentation begins.
const PROGRAMS: [&str; 16] = [
    "just", "egsde", "cargo", "git", "bash", "cp", "mv", "rm", "cd", "alias", "export", "python3",
    "pip", "npm", "apt-get", "docker",
];

/// Whether a line is a command: it begins with a known program or a script of the checkout.
fn is_command(line: &str) -> bool {
    let first = line.split(' ').next().unwrap_or_default();
    let is_script = first.starts_with("scripts/") || first.starts_with(".ci/");
    PROGRAMS.contains(&first) || (is_script && !first.ends_with('/'))
}

/// A command without its comment and with single blanks; this project's programs by one name each.
fn normalised(line: &str) -> String {
    let line = line.split("  #").next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ").replace("\\|", "|");
    for (long, short) in [("./justw", "just"), ("target/release/egsde", "egsde")] {
        if let Some(rest) = line.strip_prefix(long) {
            return format!("{short}{rest}");
        }
    }
    line
}

/// The lines of indented blocks, block by block.
fn indented_blocks(text: &str) -> Vec<Vec<&str>> {
    let mut blocks = vec![Vec::new()];
    for line in text.lines() {
        if line.starts_with("    ") {
            blocks.last_mut().unwrap().push(line.trim());
        } else {
            blocks.push(Vec::new());
        }
    }
    blocks
}

/// A text in two: outside fences, and the lines inside them, each with the fence's language.
fn split_fences(text: &str) -> (String, Vec<(&str, &str)>) {
    let (mut outside, mut inside) = (String::new(), Vec::new());
    let mut language = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), language) {
            (Some(begun), None) => language = Some(begun),
            (Some(_), Some(_)) => language = None,
            (None, Some(language)) => inside.push((language, line)),
            (None, None) => outside += &format!("{line}\n"),
        }
    }
    (outside, inside)
}

/// A text whose lines that end with a backslash go on in the next.
fn joined(text: &str) -> String {
    let mut joined = String::new();
    for (i, piece) in text.split("\\\n").enumerate() {
        joined += if i == 0 { piece } else { piece.trim_start() };
    }
    joined
}

/// Every command of a page: those of blocks, whole, and those in backticks.
fn commands_in(page: &str) -> BTreeSet<String> {
    let page = joined(page);
    let (outside, inside) = split_fences(&page);
    let mut commands = BTreeSet::new();
    for block in indented_blocks(&outside) {
        // Where one line is a command, all of the block are: a program that is new is noticed.
        if block.iter().any(|line| is_command(&normalised(line))) {
            commands.extend(block.iter().map(|line| normalised(line)));
        }
    }
    let shells = inside
        .iter()
        .filter(|(language, _)| ["sh", "bash"].contains(language));
    commands.extend(shells.map(|(_, line)| normalised(line)));
    for span in outside.split('`').skip(1).step_by(2).map(normalised) {
        let names_a_program = PROGRAMS.contains(&span.as_str());
        if is_command(&span) && !names_a_program && !span.contains(": ") {
            commands.insert(span);
        }
    }
    commands
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![
        checkout().join("README.md"),
        checkout().join("CONTRIBUTING.md"),
    ];
    let docs = files_below(&checkout().join("docs"), ".md");
    pages.extend(
        docs.iter()
            .map(|page| checkout().join("docs").join(&page.name)),
    );
    pages
}

/// The commands of all pages, each with the pages that have it.
fn documented() -> BTreeMap<String, Vec<String>> {
    let mut documented: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for page in pages() {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        for command in commands_in(&std::fs::read_to_string(page).unwrap()) {
            documented.entry(command).or_default().push(name.clone());
        }
    }
    documented
}

#[test]
fn every_command_is_listed_and_every_listed_one_is_there() {
    let (listed, documented) = (listed(), documented());
    let new: Vec<_> = documented
        .iter()
        .filter(|(command, _)| !listed.contains_key(*command))
        .collect();
    assert!(new.is_empty(), "not in commands.txt: {new:#?}");
    let gone: Vec<&String> = listed
        .keys()
        .filter(|c| !documented.contains_key(*c))
        .collect();
    assert!(
        gone.is_empty(),
        "in commands.txt, but in no page: {gone:#?}"
    );
}

#[test]
fn commands_are_found_in_blocks_and_prose() {
    let page = r"Text `just soak` and `egsde` and `egsde: internal error`.

    ./justw setup   # once
    new-program --x

    key: value

```sh
ls
```
1. A list

       egsde plan A
";
    let expected = [
        "egsde plan A",
        "just setup",
        "just soak",
        "ls",
        "new-program --x",
    ];
    assert_eq!(commands_in(page), expected.map(String::from).into());
}

/// Runs a command in the checkout, the binary in the place of `egsde`.
fn run_here(command: &str) -> common::Assert {
    let words: Vec<&str> = command.split(' ').collect();
    let mut run = match words[0] {
        "egsde" => egsde_in(&checkout()),
        _ => {
            let mut bash = Command::new("bash");
            bash.args(["-c", command]).current_dir(checkout());
            bash
        }
    };
    if words[0] == "egsde" {
        run.args(&words[1..]);
    }
    run.assert().append_context("command", command.into())
}

#[test]
fn what_is_said_to_run_a_command_is_there() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let ci = std::fs::read_to_string(checkout().join(".ci/run")).unwrap();
    for (command, run_by) in listed() {
        match run_by {
            RunBy::Here(code) => {
                run_here(&command).code(code);
            }
            RunBy::Test { file, name } => {
                let text = std::fs::read_to_string(tests.join(&file)).unwrap();
                let is_there = text.contains(&format!("fn {name}()"));
                assert!(is_there, "{command}: {file} has no test {name}");
            }
            RunBy::Ci(part) => assert!(ci.contains(&part), "{command}: .ci/run has no {part}"),
            RunBy::Mention => {
                run_here(&format!("{command} --help")).success();
            }
            RunBy::Needs(what) => println!("{command}: not run, needs {what}"),
        }
    }
}

#[test]
fn options_of_the_programs_commands_are_there() {
    for command in listed().keys().filter(|c| c.starts_with("egsde ")) {
        // A device is looked for as it is read.
        let command = command
            .split(" | ")
            .next()
            .unwrap()
            .replace("cuda:0", "cpu");
        let words = command.split(' ').filter(|word| *word != "...");
        let words: Vec<&str> = words.skip(1).chain(["--help"]).collect();
        let ended = egsde_in(&checkout()).args(&words).assert();
        ended.append_context("command", command.clone()).success();
    }
}

/// The recipes of the justfile.
fn recipes() -> BTreeSet<String> {
    let text = std::fs::read_to_string(checkout().join("justfile")).unwrap();
    let mut recipes = BTreeSet::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with([' ', '#', '[']))
    {
        if let Some((head, rest)) = line.split_once(':')
            && !rest.starts_with('=')
        {
            recipes.extend(head.split(' ').next().map(String::from));
        }
    }
    recipes
}

#[test]
fn recipes_are_those_of_the_justfile() {
    let recipes = recipes();
    assert!(recipes.contains("reproduce-table1") && recipes.contains("default"));
    for command in listed().keys() {
        let recipe = command
            .strip_prefix("just ")
            .and_then(|rest| rest.split(' ').next());
        if let Some(recipe) = recipe.filter(|recipe| !recipe.starts_with('-')) {
            assert!(recipes.contains(recipe), "{command}: no such recipe");
        }
    }
}

#[test]
fn justw_without_a_recipe_tells_in_ten_lines_what_can_be_done() {
    let told = Command::new(checkout().join("justw")).assert().printed();
    assert_eq!(told.lines().count(), 10, "{told}");
    let commands = [
        "reproduce-table1",
        "translate",
        "test",
        "setup-gpu",
        "--list",
    ];
    assert_has(&told, &commands);
    let recipes = recipes();
    for line in told
        .lines()
        .filter_map(|line| line.split("./justw ").nth(1))
    {
        let recipe = line.split(' ').next().unwrap();
        assert!(
            recipe.starts_with('-') || recipes.contains(recipe),
            "{line}"
        );
    }
}
