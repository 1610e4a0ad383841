//! CUDA is loaded before libtorch is asked for it, and a machine without it is told what is
//! missing.

use crate::common::{AssertText, OutputAssertExt, assert_has, checkout, egsde, egsde_in};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The question whether there is CUDA, whose first answer libtorch keeps.
const QUESTION: &str = "_ZN2at6detail12getCUDAHooksEv";

/// What the dynamic loader wrote into a folder.
fn loader_log(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let texts = entries.map(|entry| std::fs::read(entry.path()).unwrap());
    texts
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect()
}

/// Whether a line of the loader tells that libtorch asks the question itself.
fn libtorch_asks(line: &str) -> bool {
    let asker = line.split_once("binding file ").map(|(_, rest)| rest);
    asker.is_some_and(|rest| {
        let file = rest.split_whitespace().next().unwrap_or_default();
        file.ends_with("libtorch_cpu.so") && rest.contains(QUESTION)
    })
}

#[test]
fn cuda_is_loaded_before_libtorch_asks_for_it() {
    let log = tempfile::tempdir().unwrap();
    let golden = "crates/runner/tests/golden";
    let ended = egsde_in(&checkout())
        .args(["parity", golden, "--only", "NOTHING", "--device", "cuda:0"])
        .env("LD_DEBUG", "libs,bindings")
        .env("LD_DEBUG_OUTPUT", log.path().join("loader"))
        .assert()
        .code(2);
    let text = ended.error_text();
    assert_eq!(text.lines().count(), 1, "{text}");
    if !text.contains("no case in") {
        // There is no GPU here: either libraries are missing, or the driver.
        let loader_failed = text.contains("cannot open shared object file");
        assert_has(
            &text,
            &[if loader_failed {
                "just setup-gpu"
            } else {
                "driver"
            }],
        );
    }
    let log = loader_log(log.path());
    let searched = log
        .lines()
        .position(|line| line.contains("find library=libtorch_cuda.so"));
    let searched = searched.expect("libtorch_cuda.so is searched");
    let asked = log.lines().position(libtorch_asks);
    assert!(
        asked.is_none_or(|asked| asked > searched),
        "libtorch asked in line {asked:?}, its CUDA library was searched in line {searched}"
    );
}

#[test]
fn a_plan_for_a_gpu_needs_none() {
    let plan = egsde(&["plan", "experiments/table1.yaml", "--device", "cuda:0"]).printed();
    assert_has(&plan, &[" jobs done"]);
    egsde(&["plan", "experiments/table1.yaml", "--device", "gpu"]).refused(&["there are cpu"]);
}

/// A stand-in for a Python that has PyTorch: it answers with the times of one variant.
const PYTHON: &str = r#"#!/bin/sh
[ "$1" = -c ] && exit
echo '{"results": {"eager, batch 2": {"sdedit_ms": 1.5, "egsde_ms": 33.25}}}' > "$3"
"#;

#[test]
fn the_check_of_a_gpu_runs_on_a_cpu_and_ends_with_its_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let (out, python) = (folder.path().join("out.md"), folder.path().join("python"));
    std::fs::write(&python, PYTHON).unwrap();
    std::fs::set_permissions(&python, Permissions::from_mode(0o755)).unwrap();
    let printed = egsde_in(&checkout())
        .args(["check-gpu", "--device", "cpu", "--small", "--only"])
        .args([
            "steps,pytorch",
            "--batch-size",
            "2",
            "--steps",
            "2",
            "--python",
        ])
        .args([&python, Path::new("--folder"), folder.path()])
        .args([Path::new("--out"), &out])
        .assert()
        .printed();
    for method in ["SDEdit", "ILVR", "EGSDE"] {
        for precision in ["f32", "bf16"] {
            let twice = format!("{method} in {precision} twice");
            assert_has(&printed, &[method, &twice]);
        }
    }
    assert_has(&printed, &["EGSDE, PyTorch", "33.2", "the same pictures"]);
    assert!(
        !printed.contains("tf32 twice") && !printed.contains("FAILED"),
        "{printed}"
    );
    assert_eq!(std::fs::read_to_string(out).unwrap(), printed);
}

#[test]
fn a_python_without_pytorch_is_refused_before_all_work() {
    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python");
    std::fs::write(
        &python,
        "#!/bin/sh\necho no module named torch >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&python, Permissions::from_mode(0o755)).unwrap();
    let python = python.to_str().unwrap();
    for (options, parts) in [
        (
            ["--python", python],
            ["cannot import torch", "no module named torch"],
        ),
        (
            ["--python", "/no/python"],
            ["--python /no/python", "No such file"],
        ),
        (
            ["--only", "pytorch"],
            ["--only pytorch needs --python", "import torch"],
        ),
    ] {
        egsde_in(&checkout())
            .args(["check-gpu", "--device", "cpu", "--small"])
            .args(options)
            .assert()
            .refused(&parts);
    }
}
