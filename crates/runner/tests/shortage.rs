//! Memory that runs out: at chosen calls of the program with the texts of libtorch, cuDNN and
//! cuBLAS, which every machine does alike; and, only where it is asked for, under a real limit.

mod common;

use common::images::largest_difference;
use common::{
    Assert, AssertText, OutputAssertExt, RunFile, TestExperiment, assert_has, assert_same_results,
    checkout, results_of, table_mean,
};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// One batch of eight images, in four steps.
const TEXT: &str = r"name: s
title: S
task: cat2dog-32
seeds: [1]
pictures: 8
batch_size: 8
methods:
  - {name: SDEdit, method: sdedit, steps: 10, start: 0.4}
";

/// What libtorch's allocators, the C++ library, oneDNN, cuDNN and cuBLAS say.
const SHORTAGES: [&str; 6] = [
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you \
     tried to allocate 268435456 bytes. Error code 12 (Cannot allocate memory)",
    "std::bad_alloc",
    "could not create a primitive",
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of \
     which 1.20 GiB is free. Including non-PyTorch memory, this process has 77.90 GiB in use.",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
];

/// The end of a run in which memory runs out at a place.
fn run_short(experiment: &TestExperiment, runs: &str, place: &str, text: &str) -> Assert {
    let mut run = experiment.command("run", runs, &[]);
    run.env("EGSDE_MEMORY_FAULT", format!("{place}: {text}"));
    let context = format!("{place}: {text}");
    run.assert().append_context("fault", context)
}

/// The images of a run, under their own names.
fn images(experiment: &TestExperiment, runs: &str) -> Vec<RunFile> {
    let mut images = experiment.files(runs, ".png");
    for image in &mut images {
        let name = image.name.rsplit('/').next().unwrap();
        image.name = name.to_string();
    }
    images
}

#[test]
fn without_memory_the_batch_is_halved_and_the_results_stay() {
    let experiment = TestExperiment::new(TEXT);
    experiment.run("whole", &[]).success();
    experiment.run("half", &["--batch-size", "4"]).success();
    let half = images(&experiment, "half");
    assert_eq!(half.len(), 8);
    // As the batch begins, and in its middle.
    let places = ["batch 1", "step 3"].iter().cycle();
    for (i, (text, place)) in SHORTAGES.iter().zip(places).enumerate() {
        let runs = format!("short-{i}");
        let log = run_short(&experiment, &runs, place, text).success();
        let parts = ["has no memory for batches of 8, goes on with 4"];
        assert_has(&log.error_text(), &parts);
        // The images are those that batches of four give, to the last bit.
        assert_same_results(&images(&experiment, &runs), &half, text);
        let scores = &experiment.scores(&runs)[0];
        assert_eq!(scores["sampling"]["batch_size"], 4, "{scores}");
        let table = experiment.egsde("table", &runs, &[]).printed();
        assert_has(&table, &["Memory ran out in 1 jobs", "batches of 4"]);
    }
    // libtorch's kernels round differently for another batch shape, and rounding to 8 bits may then
    // fall to the other side.
    let whole = images(&experiment, "whole");
    assert!(largest_difference(&whole, &half) <= 1);
}

#[test]
fn without_memory_for_one_picture_the_job_fails_and_goes_on_later() {
    let experiment = TestExperiment::new(TEXT);
    let text = run_short(&experiment, "r", "batch *", SHORTAGES[3])
        .code(1)
        .error_text();
    let parts = [
        "job sdedit-s1-",
        "even for one picture",
        "CUDA out of memory",
    ];
    assert_has(&text, &parts);
    assert!(experiment.files("r", ".png").is_empty());
    experiment.run("r", &[]).success();
    experiment.run("undisturbed", &[]).success();
    let undisturbed = results_of(&experiment, "undisturbed");
    assert_same_results(
        &results_of(&experiment, "r"),
        &undisturbed,
        "after a failure",
    );
}

#[test]
fn without_memory_features_are_computed_in_smaller_parts() {
    let experiment = TestExperiment::new(TEXT);
    experiment.run("whole", &[]).success();
    let whole = experiment.table("whole");
    // The reference images' features come first, those of the translations last.
    for (i, (place, text)) in [("part 1", SHORTAGES[0]), ("part 11", SHORTAGES[4])]
        .into_iter()
        .enumerate()
    {
        let runs = format!("short-{i}");
        run_short(&experiment, &runs, place, text).success();
        let (got, want) = (
            table_mean(&experiment.table(&runs), "SDEdit", "fid"),
            table_mean(&whole, "SDEdit", "fid"),
        );
        assert!((got - want).abs() <= 1e-4 * want, "{place}: {got} {want}");
    }
}

/// Many images in one batch of few steps.
const LARGE_BATCH: &str = r"name: f
title: F
task: cat2dog-32
seeds: [1]
pictures: 256
batch_size: 256
save_every: 256
methods:
  - {name: SDEdit, method: sdedit, steps: 2, start: 0.5}
  - {name: EGSDE, method: egsde, steps: 2, start: 0.5, lambda_s: 20, lambda_i: 0.3}
";

/// The largest address space a process has had so far.
fn virtual_kilobytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmPeak:"))
        .unwrap_or_default();
    line.trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .unwrap_or(0)
}

/// The largest address space of a command, which must succeed.
fn peak_kilobytes(command: &mut Command) -> u64 {
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        peak = peak.max(virtual_kilobytes(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command that may take this much address space.
fn within_kilobytes(command: &Command, most: u64) -> Output {
    let limited = format!("ulimit -v {most}; exec \"$0\" \"$@\"");
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &limited])
        .arg(command.get_program())
        .args(command.get_args());
    shell.current_dir(checkout()).output().unwrap()
}

/// `just memory-shortage`. A limit on the address space hits libtorch wherever it allocates, and
/// there it may die, which is a kill like any other.
#[test]
#[ignore = "limits the address space, under which libtorch may die: just memory-shortage"]
fn a_real_shortage_changes_no_result() {
    let experiment = TestExperiment::new(LARGE_BATCH);
    // Less than what 256 images at once take, by steps down to what is too little for 64.
    let peak = peak_kilobytes(&mut experiment.command("run", "room", &[]));
    let room = experiment.files("room", ".png");
    for percent in [90, 80, 75, 70, 65] {
        let runs = format!("tight-{percent}");
        let run = experiment.command("run", &runs, &[]);
        let ended = within_kilobytes(&run, peak / 100 * percent);
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        let last = text.lines().last().unwrap_or_default();
        match (ended.status.code(), ended.status.signal()) {
            (Some(code), _) => println!("{percent} % of {peak} kB: exit {code}, {last}"),
            (None, signal) => println!("{percent} % of {peak} kB: signal {signal:?}, {last}"),
        }
        // With room again the same run ends with the same images, to the last rounding.
        experiment.run(&runs, &[]).success();
        let tight = experiment.files(&runs, ".png");
        let largest = largest_difference(&room, &tight);
        assert!(largest <= 1, "pixels differ by up to {largest}");
    }
}
