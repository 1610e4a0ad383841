//! Faults injected for real: docs/reliability.md lists them.

mod common;

use common::{
    Assert, AssertText, OutputAssertExt, TWO_ROWS, TestExperiment, assert_has, assert_same_results,
    assert_same_runs, checkout, copy_folder, edited, egsde_in, results_of,
};
use egsde_data::files::sha256_hex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::path::Path;
use std::process::Command;

/// [`TWO_ROWS`] with its rows in the other order.
fn backwards() -> String {
    let mut lines: Vec<&str> = TWO_ROWS.lines().collect();
    let rows = lines.len() - 2;
    lines[rows..].reverse();
    lines.join("\n")
}

#[test]
fn a_sample_that_is_not_finite_fails_its_job_by_name_and_no_other() {
    let experiment = TestExperiment::new(&edited(TWO_ROWS, "lambda_s: 20", "lambda_s: 1e38"));
    let text = experiment.run("r", &[]).code(1).error_text();
    let parts = [
        "job egsde-s1-",
        "the translation of cat-",
        "is not finite from step",
    ];
    assert_has(&text, &parts);
    assert_has(&text, &["(counted down to 0) on", "1 of 2 jobs failed"]);
    let table = experiment.egsde("table", "r", &[]).code(1).output_text();
    assert_has(&table, &["SDEdit", "Not finished: egsde-s1-"]);
}

/// Jumps of up to a day, back and forth, of every clock that a program can ask.
const JUMPING_CLOCK: &str = r"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t) {
  static unsigned n;
  int r = syscall(SYS_clock_gettime, id, t);
  n = n * 1664525u + 1013904223u;
  t->tv_sec += (long)(n >> 8) % 172800 - 86400;
  return r;
}
";

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let experiment = TestExperiment::new(TWO_ROWS);
    experiment.run("undisturbed", &[]).success();
    let (source, library) = (experiment.path("clock.c"), experiment.path("clock.so"));
    std::fs::write(&source, JUMPING_CLOCK).unwrap();
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .assert()
        .success();
    let mut run = experiment.command("run", "r", &[]);
    run.env("LD_PRELOAD", &library);
    run.assert().success();
    assert_same_runs(&experiment, "r", "undisturbed");
    assert_has(&run.assert().success().error_text(), &["nothing to do"]);
}

/// How a file was damaged.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    Cut { to_bytes: usize },
    Emptied,
    BitFlipped { in_byte: usize },
}

/// Damages a file at a place chosen by `random`.
fn damage(path: &Path, random: &mut StdRng) -> Damage {
    let mut bytes = std::fs::read(path).unwrap();
    // A file that was emptied before gets a byte.
    bytes.resize(bytes.len().max(1), 0);
    let at = random.random_range(0..bytes.len());
    let damage = match random.random_range(0..3) {
        0 => Damage::Cut { to_bytes: at },
        1 => Damage::Emptied,
        _ => Damage::BitFlipped { in_byte: at },
    };
    match damage {
        Damage::Cut { to_bytes } => bytes.truncate(to_bytes),
        Damage::Emptied => bytes.clear(),
        Damage::BitFlipped { in_byte } => bytes[in_byte] ^= 1 << random.random_range(0..8),
    }
    std::fs::write(path, bytes).unwrap();
    damage
}

/// A kind of file in a job's folder or beside the runs.
struct FileKind {
    end: &'static str,
    /// What `egsde verify` must notice.
    noticed: Noticed,
}

/// Damage that must be noticed. A flipped blank in a text changes nothing.
#[derive(Clone, Copy)]
enum Noticed {
    Always,
    UnlessBitFlipped,
    WhenEmptied,
    /// Timings decide no result.
    Never,
}

impl Noticed {
    fn covers(self, damage: Damage) -> bool {
        match self {
            Self::Always => true,
            Self::UnlessBitFlipped => !matches!(damage, Damage::BitFlipped { .. }),
            Self::WhenEmptied => damage == Damage::Emptied,
            Self::Never => false,
        }
    }
}

const FILE_KINDS: [FileKind; 6] = [
    FileKind {
        end: "job.json",
        noticed: Noticed::WhenEmptied,
    },
    FileKind {
        end: ".png",
        noticed: Noticed::Always,
    },
    FileKind {
        end: "images.sha256",
        noticed: Noticed::WhenEmptied,
    },
    FileKind {
        end: "scores.json",
        noticed: Noticed::UnlessBitFlipped,
    },
    FileKind {
        end: "per_image.safetensors",
        noticed: Noticed::Always,
    },
    FileKind {
        end: ".timings.json",
        noticed: Noticed::Never,
    },
];

/// Whether a folder verifies; any exit code but 0 and 1 is a mistake.
#[track_caller]
fn verifies(experiment: &TestExperiment, runs: &str) -> bool {
    let ended = experiment.verify(runs);
    let code = ended.get_output().status.code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{code:?}: {}",
        ended.error_text()
    );
    code == Some(0)
}

#[test]
fn damaged_results_are_noticed_and_made_again() {
    let experiment = TestExperiment::new(TWO_ROWS);
    experiment.run("undisturbed", &[]).success();
    let undisturbed = results_of(&experiment, "undisturbed");
    copy_folder(&experiment.path("undisturbed"), &experiment.path("r"));
    let mut random = StdRng::seed_from_u64(3);
    for FileKind { end, noticed } in FILE_KINDS {
        for _ in 0..3 {
            let files = experiment.files("r", end);
            let name = &files[random.random_range(0..files.len())].name;
            let damage = damage(&experiment.path("r").join(name), &mut random);
            let context = format!("{name}, {damage:?}");
            let is_noticed = !verifies(&experiment, "r");
            assert!(
                is_noticed || !noticed.covers(damage),
                "{context}: not noticed"
            );
            experiment
                .run("r", &[])
                .append_context("damage", context.clone())
                .success();
            assert_same_results(&results_of(&experiment, "r"), &undisturbed, &context);
            assert!(verifies(&experiment, "r"), "{context}: not mended");
        }
    }
    for end in [".png", "images.sha256", "scores.json"] {
        let name = &experiment.files("r", end)[0].name;
        std::fs::remove_file(experiment.path("r").join(name)).unwrap();
        assert!(!verifies(&experiment, "r"), "{end} is gone");
        experiment.run("r", &[]).success();
        assert_same_results(&results_of(&experiment, "r"), &undisturbed, end);
    }
}

#[test]
fn a_copied_results_folder_verifies_and_a_row_explains_itself() {
    let experiment = TestExperiment::new(TWO_ROWS);
    experiment.run("r", &[]).success();
    copy_folder(&experiment.path("r"), &experiment.path("elsewhere"));
    assert!(verifies(&experiment, "elsewhere"));
    let text = experiment
        .egsde("explain", "r", &["--row", "EGSDE"])
        .printed();
    assert_has(
        &text,
        &["weight: 20", "seed: 1", "sha256", "device: cpu", "seconds"],
    );
    assert_has(&text, &["code: egsde ", "libtorch: "]);
    let parts = ["no row \"EGSD\"", "did you mean `EGSDE`?"];
    experiment
        .egsde("explain", "r", &["--row", "EGSD"])
        .refused(&parts);
}

/// A way to run an experiment that must not change its files.
#[derive(Debug)]
struct Way {
    save_every: usize,
    threads: usize,
    devices: &'static str,
    workers: &'static str,
    /// Whether the file lists its rows in the other order.
    backwards: bool,
}

const WAYS: [Way; 10] = [
    Way {
        save_every: 1,
        threads: 1,
        devices: "cpu",
        workers: "1",
        backwards: false,
    },
    Way {
        save_every: 3,
        threads: 2,
        devices: "cpu",
        workers: "3",
        backwards: false,
    },
    Way {
        save_every: 8,
        threads: 4,
        devices: "cpu",
        workers: "1",
        backwards: false,
    },
    Way {
        save_every: 64,
        threads: 1,
        devices: "cpu,cpu",
        workers: "1",
        backwards: false,
    },
    Way {
        save_every: 2,
        threads: 3,
        devices: "cpu",
        workers: "1",
        backwards: true,
    },
    Way {
        save_every: 4,
        threads: 1,
        devices: "cpu,cpu,cpu",
        workers: "auto",
        backwards: true,
    },
    Way {
        save_every: 5,
        threads: 2,
        devices: "cpu",
        workers: "1",
        backwards: true,
    },
    Way {
        save_every: 7,
        threads: 8,
        devices: "cpu",
        workers: "1",
        backwards: false,
    },
    Way {
        save_every: 1,
        threads: 2,
        devices: "cpu,cpu",
        workers: "1",
        backwards: true,
    },
    Way {
        save_every: 6,
        threads: 5,
        devices: "cpu",
        workers: "1",
        backwards: true,
    },
];

#[test]
fn ten_ways_to_run_give_the_same_files() {
    let experiment = TestExperiment::new(TWO_ROWS);
    experiment.run("plain", &[]).success();
    let plain = results_of(&experiment, "plain");
    for (i, way) in WAYS.iter().enumerate() {
        let backwards = way.backwards.then(backwards);
        experiment.rewrite(backwards.as_deref().unwrap_or(TWO_ROWS));
        let runs = format!("way-{i}");
        let options = [
            "--save-every",
            &way.save_every.to_string(),
            "--device",
            way.devices,
            "--workers",
            way.workers,
        ];
        let mut command = experiment.command("run", &runs, &options);
        command
            .env("OMP_NUM_THREADS", way.threads.to_string())
            .assert()
            .success();
        assert_same_results(&results_of(&experiment, &runs), &plain, &format!("{way:?}"));
    }
}

/// The end of `egsde merge` on an experiment's folders.
fn merge(experiment: &TestExperiment, from: &[&str], into: &str) -> Assert {
    let mut egsde = egsde_in(&checkout());
    egsde
        .arg("merge")
        .args(from.iter().map(|runs| experiment.path(runs)));
    egsde.arg("--into").arg(experiment.path(into)).assert()
}

#[test]
fn shards_merge_into_the_undisturbed_run_and_conflicts_are_named() {
    let experiment = TestExperiment::new(TWO_ROWS);
    experiment.run("whole", &[]).success();
    experiment.run("a", &["--shard", "1/2"]).success();
    experiment.run("b", &["--shard", "2/2"]).success();
    let merged = merge(&experiment, &["a", "b"], "all").printed();
    let counts = "2 jobs copied, 0 were there, 0 unfinished ones left, 0 conflicts";
    assert_has(&merged, &[counts]);
    assert_same_runs(&experiment, "all", "whole");
    let merged = merge(&experiment, &["a"], "all").printed();
    assert_has(&merged, &["0 jobs copied, 1 were there"]);
    assert_has(
        &experiment.run("all", &[]).success().error_text(),
        &["nothing to do"],
    );
    // Another result under the same name, whole in itself.
    let file = experiment.files("b", "scores.json").remove(0);
    let mut document = file.json();
    document["scores"]["metrics"]["l2"] = 1.25.into();
    document["sha256"] = sha256_hex(&serde_json::to_vec(&document["scores"]).unwrap()).into();
    let path = experiment.path("b").join(&file.name);
    std::fs::write(path, serde_json::to_vec(&document).unwrap()).unwrap();
    let text = merge(&experiment, &["b"], "all").code(1).error_text();
    assert_has(&text, &["nothing was overwritten"]);
    assert_same_runs(&experiment, "all", "whole");
    merge(&experiment, &["nothing"], "all").refused(&["nothing"]);
}

#[test]
fn yaml_that_explodes_is_refused() {
    let mut bomb = String::from("name: &a [x, x, x, x, x, x, x, x, x]\n");
    for (at, before) in ('b'..='j').zip('a'..) {
        let many = vec![format!("*{before}"); 9].join(", ");
        bomb += &format!("{at}: &{at} [{many}]\n");
    }
    TestExperiment::new(&bomb)
        .egsde("plan", "r", &[])
        .refused(&[]);
    let deep = format!("name: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    TestExperiment::new(&deep).egsde("plan", "r", &[]).code(2);
}
