//! The command line through its real binary, on the pictures and weights that ship.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn egsde(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_egsde")).args(args).current_dir(root()).output().unwrap()
}

/// An experiment file in a folder of its own, run into the same folder.
struct Bench {
    folder: tempfile::TempDir,
}

const TINY: &str = "name: tiny\ntitle: Tiny\ntask: cat2dog-32\npublished: {table: \"1\", task: cat2dog}\nseeds: [1, 2]\npictures: 5\nmethods:\n  - {name: SDEdit, method: sdedit, steps: 10, start: 0.4}\n  - {name: EGSDE, method: egsde, steps: 10, start: 0.4, lambda_s: 20, lambda_i: 0.3}\n  - {name: ILVR, method: ilvr, steps: 5, ilvr_variance: fixedsmall}\n";

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("e.yaml"), text).unwrap();
        Self { folder }
    }

    fn egsde(&self, command: &str, runs: &str, more: &[&str]) -> Output {
        let file = self.folder.path().join("e.yaml");
        let set = format!("runs_dir={}", self.folder.path().join(runs).display());
        egsde(&[&[command, file.to_str().unwrap(), "--set", &set], more].concat())
    }

    /// Every file of a run whose name ends so, by its path inside the run, with its bytes.
    fn files(&self, runs: &str, end: &str) -> Vec<(String, Vec<u8>)> {
        fn walk(at: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let base = self.folder.path().join(runs);
        let mut paths = Vec::new();
        walk(&base, &mut paths);
        paths.sort();
        let wanted = paths.into_iter().filter(|p| p.to_string_lossy().ends_with(end));
        wanted.map(|p| (p.strip_prefix(&base).unwrap().display().to_string(), std::fs::read(p).unwrap())).collect()
    }
}

#[track_caller]
fn good(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Exit 2 and one line that has all the parts.
#[track_caller]
fn refused(output: Output, parts: &[&str]) {
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} not in {text:?}"));
}

#[test]
fn from_experiment_to_table_and_nothing_the_second_time() {
    let bench = Bench::new(TINY);
    assert!(!bench.egsde("table", "r", &[]).status.success());
    good(bench.egsde("run", "r", &[]));
    let document: serde_json::Value = serde_json::from_str(&good(bench.egsde("table", "r", &["--json"]))).unwrap();
    let rows = document["rows"].as_array().unwrap();
    assert_eq!((document["experiment"].as_str(), rows.len()), (Some("tiny"), 14 + 3));
    for row in rows.iter().filter(|r| r["source"] == "ours") {
        for metric in ["fid", "l2", "psnr", "ssim"] {
            let cell = &row["metrics"][metric];
            assert!(cell["mean"].as_f64().is_some_and(f64::is_finite) && cell["std"].is_f64() && cell["n"] == 2, "{row}");
        }
    }
    let before = bench.files("r", ".png");
    let again = bench.egsde("run", "r", &[]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing to do, all 6 jobs are done"));
    assert_eq!(bench.files("r", ".png"), before);
}

#[test]
fn pictures_do_not_depend_on_batch_size_or_interruption() {
    let bench = Bench::new(TINY);
    good(bench.egsde("run", "a", &["--batch-size", "5"]));
    good(bench.egsde("run", "b", &["--batch-size", "2"]));
    let (a, b) = (bench.files("a", ".png"), bench.files("b", ".png"));
    assert_eq!(a.len(), 30);
    assert!(a == b, "batch sizes 5 and 2 gave different pictures");
    // A run that lost pictures and scores makes the same ones again.
    for (name, _) in a.iter().step_by(3) {
        std::fs::remove_file(bench.folder.path().join("b").join(name)).unwrap();
    }
    for (name, _) in bench.files("b", "scores.json") {
        std::fs::remove_file(bench.folder.path().join("b").join(name)).unwrap();
    }
    good(bench.egsde("run", "b", &["--batch-size", "3"]));
    assert!(bench.files("b", ".png") == a, "the mended run differs");
}

#[test]
fn the_report_has_tables_plots_and_pictures() {
    let bench = Bench::new(TINY);
    good(bench.egsde("run", "r", &[]));
    good(bench.egsde("report", "r", &[]));
    let names: Vec<String> =
        ["table.md", "table.csv", "table.tex", "tradeoff.png", "tradeoff.svg", "grid.png"].map(|n| format!("tiny/report/{n}")).into();
    let report = bench.files("r", "");
    for name in names {
        let (_, bytes) = report.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no {name}"));
        if name.ends_with(".png") {
            let image = image::load_from_memory(bytes).unwrap().into_rgb8();
            assert!(image.width() > 300 && image.pixels().any(|p| p.0 != [255; 3]), "{name} is empty");
        }
    }
}

#[test]
fn bad_input_gets_one_line_and_exit_code_2() {
    let with = |from: &str, to: &str| Bench::new(&TINY.replace(from, to)).egsde("run", "r", &[]);
    refused(with("pictures: 5", "picturs: 5"), &["e.yaml:6", "did you mean `pictures`?"]);
    refused(with("method: sdedit", "method: sdedt"), &["e.yaml:8", "did you mean `sdedit`?"]);
    refused(with("task: cat2dog-32", "task: cat2dgo-32"), &["e.yaml:3", "did you mean `cat2dog-32`?"]);
    refused(with("start: 0.4}", "start: -0.4}"), &["e.yaml:8", "start (M / T) is -0.4"]);
    refused(with("[1, 2]", "[2, 2]"), &["e.yaml:5", "seed 2 is given twice"]);
    refused(with("pictures: 5", "pictures: 5000"), &["cat has only 1000"]);
    refused(with(", ilvr_variance: fixedsmall", ""), &["set ilvr_variance to fixedsmall"]);
    refused(Bench::new(TINY).egsde("run", "e.yaml/inside", &[]), &["cannot write to", "--set runs_dir=DIR"]);
    refused(egsde(&["run", "no/such.yaml"]), &["no/such.yaml"]);
}

/// A project folder with the same files, for breaking some.
fn copy_of_project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["tasks", "datasets", "weights", "datasets/embedded"] {
        std::fs::create_dir_all(folder.path().join(part)).unwrap();
        for entry in std::fs::read_dir(root().join(part)).unwrap().flatten().filter(|e| e.path().is_file()) {
            std::fs::copy(entry.path(), folder.path().join(part).join(entry.file_name())).unwrap();
        }
    }
    std::fs::write(folder.path().join("e.yaml"), TINY).unwrap();
    folder
}

fn run_in(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_egsde")).args(["run", "e.yaml"]).current_dir(folder).output().unwrap()
}

#[test]
fn wrong_weights_and_missing_data_say_what_to_do() {
    let project = copy_of_project();
    let weights = project.path().join("weights/dog_diffusion.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    refused(run_in(project.path()), &["dog_diffusion.safetensors: SHA-256 is", "expects"]);
    std::fs::remove_file(&weights).unwrap();
    refused(run_in(project.path()), &["dog_diffusion.safetensors is missing"]);
    std::fs::write(project.path().join("e.yaml"), TINY.replace("task: cat2dog-32", "task: cat2dog-32-train")).unwrap();
    refused(run_in(project.path()), &["cifar10 is missing from", "just fetch-cifar10"]);
}

#[test]
fn parity_prints_one_document_and_compare_notices() {
    let document: serde_json::Value =
        serde_json::from_str(&good(egsde(&["parity", "crates/runner/tests/golden", "--only", "low_pass", "--json"]))).unwrap();
    assert_eq!((document["ok"].as_bool(), document["cases"].as_array().unwrap().len()), (Some(true), 5));
    let bench = Bench::new(&TINY.replace("[1, 2]", "[1]"));
    good(bench.egsde("run", "r", &[]));
    let stored = bench.folder.path().join("base.csv");
    let stored = stored.to_str().unwrap();
    good(bench.egsde("compare", "r", &[stored, "--update"]));
    good(bench.egsde("compare", "r", &[stored]));
    let other = Bench::new(&TINY.replace("[1, 2]", "[1]").replace("lambda_s: 20", "lambda_s: 60"));
    good(other.egsde("run", "r", &[]));
    let found = other.egsde("compare", "r", &[stored]);
    assert_eq!(found.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&found.stderr).contains("EGSDE l2"), "{}", String::from_utf8_lossy(&found.stderr));
}
