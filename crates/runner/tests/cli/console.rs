//! What newcomers type first, and output or logs that cannot be written.

use crate::common::{
    AssertText, OutputAssertExt, TestExperiment, assert_has, checkout, edited, egsde, egsde_in,
};
use crate::{FINISHED, TINY};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn without_a_command_all_are_listed() {
    let text = egsde(&[]).code(2).error_text();
    assert_has(
        &text,
        &["Usage: egsde", "\n  plan ", "\n  task ", "--project"],
    );
    for help in ["--help", "help"] {
        assert_has(&egsde(&[help]).printed(), &["Usage: egsde", "\n  plan "]);
    }
}

#[test]
fn the_version_has_commit_and_libtorch() {
    let text = egsde(&["--version"]).printed();
    let begins = format!("egsde {} (commit ", env!("CARGO_PKG_VERSION"));
    assert!(text.starts_with(&begins), "{text}");
    assert_has(&text, &[", libtorch 2."]);
}

/// A disk without room.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn output_without_room_is_one_line_and_exit_code_2() {
    let reason = ["cannot write to standard output: No space left on device"];
    for options in [&[][..], &["--json"]] {
        let mut egsde = FINISHED.command("table", "r", options);
        egsde.stdout(full()).assert().refused(&reason);
    }
    for command in ["plan", "explain"] {
        let options: &[&str] = match command {
            "explain" => &["--row", "ILVR"],
            _ => &[],
        };
        let mut egsde = FINISHED.command(command, "r", options);
        egsde.stdout(full()).assert().refused(&reason);
    }
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["man"],
        &["completions", "bash"],
        &["data", "check"],
        &["verify", FINISHED.path("r").to_str().unwrap()],
    ] {
        let mut egsde = egsde_in(&checkout());
        egsde
            .args(arguments)
            .stdout(full())
            .assert()
            .refused(&reason);
    }
}

#[test]
fn a_run_outlives_its_log() {
    let text = edited(TINY, "seeds: [1, 2]", "seeds: [1]");
    let experiment = TestExperiment::new(&text);
    let mut egsde = experiment.command("run", "r", &[]);
    egsde.stderr(full()).assert().success();
    assert_has(
        &experiment.egsde("plan", "r", &[]).printed(),
        &["3 of 3 jobs done"],
    );
    // The error is in the exit code at least.
    let mut egsde = experiment.command("run", "r", &["--set", "pictures=0"]);
    egsde.stderr(full()).assert().code(2);
}

/// A command in a file system of its own where another lies over libtorch's folder; none where that
/// takes more rights than this user has.
fn without_libtorch(egsde: &Path) -> Option<Output> {
    let script = "mount -t tmpfs none \"$0\" || exit 77; exec \"$1\" --version";
    let ended = Command::new("unshare")
        .args(["--mount", "bash", "-c", script, env!("EGSDE_LIBTORCH_DIR")])
        .arg(egsde)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    let is_refused = ended.status.code() == Some(77) || text.starts_with("unshare");
    if is_refused {
        println!("skipped: {text}");
        return None;
    }
    Some(ended)
}

#[test]
fn a_libtorch_that_is_gone_is_told_with_the_recipe() {
    let egsde = Path::new(env!("CARGO_BIN_EXE_egsde"));
    if let Some(ended) = without_libtorch(egsde) {
        let parts = [
            "libtorch_cpu.so",
            "not found",
            "./justw setup",
            "LD_LIBRARY_PATH",
        ];
        ended.assert().refused(&parts);
    }
}

#[test]
fn waiting_threads_sleep_unless_the_user_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("egsde");
    std::fs::copy(env!("CARGO_BIN_EXE_egsde"), &copy).unwrap();
    // In place of the engine, what tells the environment in which it starts.
    std::os::unix::fs::symlink("/usr/bin/env", folder.path().join("egsde-engine")).unwrap();
    let policy = |name: &str, value: &str| {
        let mut egsde = Command::new(&copy);
        egsde.env_remove("OMP_WAIT_POLICY").env(name, value);
        let environment = egsde.output().unwrap().assert().printed();
        let mut lines = environment.lines();
        let found = lines.find_map(|line| line.strip_prefix("OMP_WAIT_POLICY="));
        found.map(String::from)
    };
    assert_eq!(policy("OTHER", "1").as_deref(), Some("passive"));
    assert_eq!(
        policy("OMP_WAIT_POLICY", "active").as_deref(),
        Some("active")
    );
    assert_eq!(policy("GOMP_SPINCOUNT", "1000"), None);
}

#[test]
fn a_program_that_was_copied_alone_finds_its_engine() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("egsde");
    std::fs::copy(env!("CARGO_BIN_EXE_egsde"), &copy).unwrap();
    let version = Command::new(copy)
        .arg("--version")
        .output()
        .unwrap()
        .assert();
    assert_has(&version.printed(), &["egsde ", ", libtorch 2."]);
}
