//! Files are read and hashed once per process.

use crate::common::AssertText;
use crate::common::project::TestProject;
use crate::{COMPARED, COMPARED_JOBS, FINISHED, nothing_to_do};
use egsde_runner::inputs::task::Task;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Blanks after the JSON of each scores file: they change nothing, but every reading of the file
/// reads them.
const PADDING: usize = 4 << 20;

/// Whether a child has ended and was not waited for yet.
fn has_ended(child: &Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    stat.rsplit_once(") ")
        .is_some_and(|(_, fields)| fields.starts_with('Z'))
}

/// Bytes that a command read by system calls, files that it mapped left out. The command must
/// succeed.
fn bytes_read_by(command: &mut Command) -> u64 {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !has_ended(&child) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let counters = std::fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    assert!(child.wait().unwrap().success());
    let count = counters
        .lines()
        .find_map(|line| line.strip_prefix("rchar: "));
    count
        .unwrap_or_else(|| panic!("no rchar in {counters}"))
        .parse()
        .unwrap()
}

#[test]
fn a_finished_run_with_report_reads_each_scores_file_once() {
    let experiment = FINISHED.copy();
    experiment.run("r", &["--report"]).success();
    let before = bytes_read_by(&mut experiment.command("run", "r", &["--report"]));
    for file in experiment.files("r", "scores.json") {
        let padded = [file.bytes, vec![b' '; PADDING]].concat();
        std::fs::write(experiment.path("r").join(file.name), padded).unwrap();
    }
    let after = bytes_read_by(&mut experiment.command("run", "r", &["--report"]));
    let readings = (after - before) as f64 / (COMPARED_JOBS * PADDING) as f64;
    assert!(
        (readings - 1.0).abs() < 0.01,
        "each scores file was read {readings} times"
    );
    // The blanks are no change, and a report that must be drawn reads the files once, too.
    let log = experiment.run("r", &["--report"]).success().error_text();
    assert!(
        log.contains(&nothing_to_do()) && log.contains("the report is up to date"),
        "{log}"
    );
    let options = ["--report", "--set", "title=Other"];
    let drawing = bytes_read_by(&mut experiment.command("run", "r", &options));
    let readings = (drawing - before) as f64 / (COMPARED_JOBS * PADDING) as f64;
    assert!(readings < 1.9, "each scores file was read {readings} times");
}

#[test]
fn weights_are_hashed_once_per_process() {
    let files = TestProject::embedded(COMPARED);
    let project = files.open();
    let diffusion = Task::read(&project, "cat2dog-32").unwrap().diffusion;
    diffusion.config(&project).unwrap();
    // Only a hash tells that a bit was flipped, and only a process that has none yet computes it.
    files.flip_bit("checkpoints/embedded/dog_diffusion.safetensors", 4);
    diffusion
        .config(&project)
        .expect("the file is not hashed a second time");
    let error = diffusion.config(&files.open()).unwrap_err().to_string();
    assert!(
        error.contains("dog_diffusion.safetensors: SHA-256 is"),
        "{error}"
    );
}
