//! Faults injected for real: docs/reliability.md lists them.

mod common;

use common::{Bench, good, largest_difference, result, root};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TEXT: &str = "name: f\ntitle: F\ntask: cat2dog-32\nseeds: [1]\npictures: 8\ngroup: 4\nbatch_size: 4\nmethods:\n  - {name: SDEdit, method: sdedit, steps: 10, start: 0.4}\n  - {name: EGSDE, method: egsde, steps: 10, start: 0.4, lambda_s: 20, lambda_i: 0.3}\n";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file system of its own, unmounted in the end; none where this user may not mount.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .output();
        match status {
            Ok(output) if output.status.success() => Some(Self(at.into())),
            other => {
                println!("skipped: cannot mount a tmpfs here ({other:?})");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_with_one_line_and_goes_on_with_room() {
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "undisturbed", &[]));
    let Some(mount) = Mount::tmpfs(&bench.folder.path().join("r"), "size=32k") else {
        return;
    };
    let full = bench.egsde("run", "r", &[]);
    let text = stderr(&full);
    assert_eq!(full.status.code(), Some(2), "{text}");
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("egsde: ") && last.contains("No space left on device"),
        "{text}"
    );
    assert!(
        bench.files("r", ".tmp").is_empty(),
        "half-written files were left"
    );
    for (name, bytes) in bench.files("r", ".png") {
        assert!(
            image::load_from_memory(&bytes).is_ok(),
            "{name} is half-written"
        );
    }
    mount.remount("size=16m");
    good(bench.egsde("run", "r", &[]));
    assert!(result(&bench, "r") == result(&bench, "undisturbed"));
}

#[test]
fn a_read_only_folder_is_named() {
    let bench = Bench::new(TEXT);
    let Some(mount) = Mount::tmpfs(&bench.folder.path().join("r"), "size=16m") else {
        return;
    };
    good(bench.egsde("run", "r", &["--limit", "1"]));
    mount.remount("ro");
    let output = bench.egsde("run", "r", &[]);
    let text = stderr(&output);
    assert_eq!(
        (output.status.code(), text.lines().count()),
        (Some(2), 1),
        "{text}"
    );
    assert!(
        text.contains("cannot write") && text.contains("Read-only file system"),
        "{text}"
    );
    // Looking needs no writing.
    good(bench.egsde("plan", "r", &[]));
    assert_eq!(bench.egsde("table", "r", &[]).status.code(), Some(1));
}

#[test]
fn without_memory_the_group_is_halved_and_the_results_stay() {
    let text = TEXT
        .replace("pictures: 8", "pictures: 256")
        .replace("group: 4", "group: 256")
        .replace("batch_size: 4", "batch_size: 256");
    let text = text.replace("steps: 10, start: 0.4", "steps: 2, start: 0.5");
    let bench = Bench::new(&text);
    // What 256 pictures at once take here; a quarter less is too little for them and enough for 64.
    let mut child = bench
        .command("run", "room", &[])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(virtual_kilobytes(child.id()));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let command = bench.command("run", "tight", &[]);
    let args: Vec<&str> = command.get_args().map(|a| a.to_str().unwrap()).collect();
    let limited = format!("ulimit -v {}; exec \"$0\" \"$@\"", peak / 4 * 3);
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &limited, env!("CARGO_BIN_EXE_egsde")])
        .args(&args)
        .current_dir(root());
    let output = shell.output().unwrap();
    let text = stderr(&output);
    assert!(output.status.success(), "{}: {text}", output.status);
    assert!(
        text.contains("has no memory for 256 pictures at once, goes on with"),
        "{text}"
    );
    let largest = largest_difference(&bench.files("room", ".png"), &bench.files("tight", ".png"));
    // libtorch's kernels round differently for another batch shape, and rounding to 8 bits may then fall to the other side.
    assert!(largest <= 1, "pixels differ by up to {largest}");
    let (_, scores) = &bench.files("tight", "scores.json")[0];
    let scores: serde_json::Value = serde_json::from_slice(scores).unwrap();
    assert!(
        scores["scores"]["conditions"]["group"].as_u64().unwrap() < 256,
        "{scores}"
    );
    assert!(
        good(bench.egsde("table", "tight", &[])).contains("pictures at once"),
        "the table says so"
    );
}

/// Largest address space a process has had so far.
fn virtual_kilobytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmPeak:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0)
}

#[test]
fn a_sample_that_is_not_finite_fails_its_job_by_name_and_no_other() {
    let bench = Bench::new(&TEXT.replace("lambda_s: 20", "lambda_s: 1e38"));
    let output = bench.egsde("run", "r", &[]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "job egsde-s1-",
        "the translation of cat-",
        "is not finite from step",
        "of 10 on",
        "1 of 2 jobs failed",
    ] {
        assert!(text.contains(part), "{part:?} not in {text}");
    }
    let table = bench.egsde("table", "r", &[]);
    assert_eq!(table.status.code(), Some(1));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("SDEdit") && table.contains("Not finished: egsde-s1-"),
        "{table}"
    );
}

/// Jumps of up to a day, back and forth, of every clock a program can ask.
const JUMPING_CLOCK: &str = "#define _GNU_SOURCE\n#include <sys/syscall.h>\n#include <time.h>\n#include <unistd.h>\nint clock_gettime(clockid_t id, struct timespec *t) {\n  static unsigned n;\n  int r = syscall(SYS_clock_gettime, id, t);\n  n = n * 1664525u + 1013904223u;\n  t->tv_sec += (long)(n >> 8) % 172800 - 86400;\n  return r;\n}\n";

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "undisturbed", &[]));
    let (source, library) = (
        bench.folder.path().join("clock.c"),
        bench.folder.path().join("clock.so"),
    );
    std::fs::write(&source, JUMPING_CLOCK).unwrap();
    assert!(
        Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .unwrap()
            .success()
    );
    let output = bench
        .command("run", "r", &[])
        .env("LD_PRELOAD", &library)
        .output()
        .unwrap();
    good(output);
    assert!(result(&bench, "r") == result(&bench, "undisturbed"));
    let again = bench
        .command("run", "r", &[])
        .env("LD_PRELOAD", &library)
        .output()
        .unwrap();
    assert!(
        stderr(&again).contains("nothing to do"),
        "{}",
        stderr(&again)
    );
}

/// Cuts or flips a bit, at a place chosen by `random`.
fn damage(path: &Path, random: &mut StdRng) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    // One that was emptied before gets a byte.
    bytes.resize(bytes.len().max(1), 0);
    let at = random.random_range(0..bytes.len());
    let how = match random.random_range(0..3) {
        0 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        1 => {
            bytes.clear();
            "emptied".to_string()
        }
        _ => {
            bytes[at] ^= 1 << random.random_range(0..8);
            format!("a bit of byte {at} flipped")
        }
    };
    std::fs::write(path, bytes).unwrap();
    how
}

#[test]
fn damaged_results_are_noticed_and_made_again() {
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "undisturbed", &[]));
    let want = result(&bench, "undisturbed");
    good(bench.egsde("run", "r", &[]));
    let base = bench.folder.path().join("r");
    let mut random = StdRng::seed_from_u64(3);
    for end in [
        "job.json",
        ".png",
        "images.sha256",
        "scores.json",
        "evidence.safetensors",
        ".measured.json",
    ] {
        for _ in 0..3 {
            let files = bench.files("r", end);
            let (name, _) = &files[random.random_range(0..files.len())];
            let how = damage(&base.join(name), &mut random);
            let verified = good_or_no(bench.verify("r"));
            // Timings decide no result; a flipped blank in a text changes nothing.
            let must_notice = end == ".png"
                || end == "evidence.safetensors"
                || end == "scores.json" && !how.contains("flipped")
                || how == "emptied" && end != ".measured.json";
            assert!(
                !must_notice || verified.is_some(),
                "{name} {how}: verify noticed nothing"
            );
            let output = bench.egsde("run", "r", &[]);
            assert!(output.status.success(), "{name} {how}: {}", stderr(&output));
            assert!(
                result(&bench, "r") == want,
                "{name} {how}: the results differ"
            );
            assert_eq!(
                good_or_no(bench.verify("r")),
                None,
                "{name} {how}: not mended"
            );
        }
    }
    // Removed altogether.
    for end in [".png", "images.sha256", "scores.json"] {
        std::fs::remove_file(base.join(&bench.files("r", end)[0].0)).unwrap();
        assert!(good_or_no(bench.verify("r")).is_some(), "{end} is gone");
        good(bench.egsde("run", "r", &[]));
        assert!(result(&bench, "r") == want, "{end} was removed");
    }
}

/// Nothing when all is well, else the line; any other exit code is a mistake.
fn good_or_no(output: Output) -> Option<String> {
    match output.status.code() {
        Some(0) => None,
        Some(1) => Some(stderr(&output)),
        other => panic!("{other:?}: {}", stderr(&output)),
    }
}

#[test]
fn a_copied_results_folder_verifies_and_a_row_explains_itself() {
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "r", &[]));
    let copy = bench.folder.path().join("elsewhere");
    assert!(
        Command::new("cp")
            .arg("-r")
            .arg(bench.folder.path().join("r"))
            .arg(&copy)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(good_or_no(bench.verify("elsewhere")), None);
    let text = good(bench.egsde("explain", "r", &["--row", "EGSDE"]));
    for part in [
        "weight: 20",
        "seed: 1",
        "sha256",
        "device: Cpu",
        "sampling_seconds",
        "code: egsde ",
        "libtorch: ",
    ] {
        assert!(text.contains(part), "{part:?} not in {text}");
    }
    common::refused(
        bench.egsde("explain", "r", &["--row", "EGSD"]),
        &["no row \"EGSD\"", "did you mean \"EGSDE\"?"],
    );
}

#[test]
fn ten_ways_to_run_give_the_same_files() {
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "0", &[]));
    let want = result(&bench, "0");
    let file = bench.folder.path().join("e.yaml");
    let rows: Vec<&str> = TEXT.lines().filter(|l| l.starts_with("  - ")).collect();
    let reversed = format!(
        "{}methods:\n{}\n{}\n",
        TEXT.split("methods:").next().unwrap(),
        rows[1],
        rows[0]
    );
    let ways: [(&str, &str, &str, bool); 10] = [
        ("1", "1", "cpu", false),
        ("3", "2", "cpu", false),
        ("8", "4", "cpu", false),
        ("64", "1", "cpu,cpu", false),
        ("2", "3", "cpu", true),
        ("4", "1", "cpu,cpu,cpu", true),
        ("5", "2", "cpu", true),
        ("7", "8", "cpu", false),
        ("1", "2", "cpu,cpu", true),
        ("6", "5", "cpu", true),
    ];
    for (i, (batch, threads, devices, backwards)) in ways.into_iter().enumerate() {
        std::fs::write(&file, if backwards { &reversed } else { TEXT }).unwrap();
        let runs = (i + 1).to_string();
        let mut command =
            bench.command("run", &runs, &["--batch-size", batch, "--device", devices]);
        good(command.env("OMP_NUM_THREADS", threads).output().unwrap());
        assert!(
            result(&bench, &runs) == want,
            "batch {batch}, {threads} threads, {devices}, backwards {backwards}"
        );
    }
}

#[test]
fn shards_merge_into_the_undisturbed_run_and_conflicts_are_named() {
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "whole", &[]));
    good(bench.egsde("run", "a", &["--shard", "1/2"]));
    good(bench.egsde("run", "b", &["--shard", "2/2"]));
    let at = |name: &str| bench.folder.path().join(name).display().to_string();
    let merge = |from: &[&str], into: &str| {
        let from: Vec<String> = from.iter().map(|f| at(f)).collect();
        let args: Vec<&str> = std::iter::once("merge")
            .chain(from.iter().map(String::as_str))
            .collect();
        common::egsde(&[&args[..], &["--into", &at(into)]].concat())
    };
    assert!(
        good(merge(&["a", "b"], "all"))
            .contains("2 jobs copied, 0 were there, 0 unfinished ones left, 0 conflicts")
    );
    assert!(result(&bench, "all") == result(&bench, "whole"));
    assert!(good(merge(&["a"], "all")).contains("0 jobs copied, 1 were there"));
    assert!(stderr(&bench.egsde("run", "all", &[])).contains("nothing to do"));
    // Another result under the same name, whole in itself.
    let (name, bytes) = bench.files("b", "scores.json").remove(0);
    let text = String::from_utf8(bytes).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["scores"]["metrics"]["l2"] = 1.25.into();
    let sealed = egsde_models::files::sha256_hex(&serde_json::to_vec(&document["scores"]).unwrap());
    document["sha256"] = sealed.into();
    std::fs::write(
        bench.folder.path().join("b").join(&name),
        serde_json::to_vec(&document).unwrap(),
    )
    .unwrap();
    let output = merge(&["b"], "all");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("nothing was overwritten")
            && result(&bench, "all") == result(&bench, "whole")
    );
    common::refused(merge(&["nothing"], "all"), &["nothing"]);
}

#[test]
fn yaml_that_explodes_is_refused() {
    let mut bomb = String::from("name: &a [x, x, x, x, x, x, x, x, x]\n");
    for (at, before) in ('b'..='j').zip('a'..) {
        let many = vec![format!("*{before}"); 9].join(", ");
        bomb += &format!("{at}: &{at} [{many}]\n");
    }
    let bench = Bench::new(&bomb);
    let output = bench.egsde("plan", "r", &[]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    let deep = Bench::new(&format!(
        "name: {}{}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    ));
    assert_eq!(deep.egsde("plan", "r", &[]).status.code(), Some(2));
}
