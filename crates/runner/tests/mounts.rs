//! Disks that are full or cannot be written; left out where this user may not mount a file system.

mod common;
#[path = "common/needs.rs"]
mod needs;

use common::{AssertText, OutputAssertExt, TWO_ROWS, TestExperiment, assert_same_runs};
use needs::tests;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A file system of its own, unmounted in the end.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: &Path, options: &str) -> Result<Self, String> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Self(at.into())),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        Command::new("mount")
            .args(["-o", &options])
            .arg(&self.0)
            .assert()
            .success();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn a_full_disk_stops_with_one_line_and_goes_on_with_room() {
    let experiment = TestExperiment::new(TWO_ROWS);
    experiment.run("undisturbed", &[]).success();
    let mount = Mount::tmpfs(&experiment.path("r"), "size=32k").unwrap();
    let text = experiment.run("r", &[]).code(2).error_text();
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("egsde: ") && last.contains("No space left on device"),
        "{text}"
    );
    assert!(
        experiment.files("r", ".tmp").is_empty(),
        "half-written files were left"
    );
    for file in experiment.files("r", ".png") {
        assert!(
            image::load_from_memory(&file.bytes).is_ok(),
            "{file:?} is half-written"
        );
    }
    mount.remount("size=16m");
    experiment.run("r", &[]).success();
    assert_same_runs(&experiment, "r", "undisturbed");
}

fn a_read_only_folder_is_named() {
    let experiment = TestExperiment::new(TWO_ROWS);
    let mount = Mount::tmpfs(&experiment.path("r"), "size=16m").unwrap();
    experiment.run("r", &["--limit", "1"]).success();
    mount.remount("ro");
    experiment
        .run("r", &[])
        .refused(&["cannot write", "Read-only file system"]);
    // Looking needs no writing.
    experiment.egsde("plan", "r", &[]).success();
    experiment.egsde("table", "r", &[]).code(1);
}

/// Why no file system can be mounted here.
fn missing() -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let tried = Mount::tmpfs(&folder.path().join("m"), "size=16k");
    let reason = tried.err()?;
    Some(format!("needs a user who may mount a tmpfs: {reason}"))
}

fn main() -> ExitCode {
    needs::run(
        missing(),
        tests![
            a_full_disk_stops_with_one_line_and_goes_on_with_room,
            a_read_only_folder_is_named,
        ],
    )
}
