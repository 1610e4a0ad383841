//! The command line through its real binary, on the pictures and weights that ship.

mod common;

use common::{Bench, TINY, egsde, good, largest_difference, refused, root};
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[test]
fn from_experiment_to_table_and_nothing_the_second_time() {
    let bench = Bench::new(TINY);
    assert!(!bench.egsde("table", "r", &[]).status.success());
    good(bench.egsde("run", "r", &[]));
    let document: serde_json::Value =
        serde_json::from_str(&good(bench.egsde("table", "r", &["--json"]))).unwrap();
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(
        (document["experiment"].as_str(), rows.len()),
        (Some("tiny"), 14 + 3)
    );
    for row in rows.iter().filter(|r| r["source"] == "ours") {
        for metric in ["fid", "l2", "psnr", "ssim"] {
            let cell = &row["metrics"][metric];
            assert!(
                cell["mean"].as_f64().is_some_and(f64::is_finite)
                    && cell["std"].is_f64()
                    && cell["n"] == 2,
                "{row}"
            );
        }
    }
    let before = bench.files("r", ".png");
    let again = bench.egsde("run", "r", &[]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing to do, all 6 jobs are done"));
    assert_eq!(bench.files("r", ".png"), before);
}

#[test]
fn a_second_run_draws_and_computes_nothing_and_what_is_damaged_comes_back() {
    let bench = Bench::new(&format!("{TINY}compare_to: SDEdit\n"));
    let again = |name: &str| {
        let output = bench.egsde("run", "r", &["--report"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            good(output),
            said.contains("nothing to do, all 6 jobs are done"),
            said.contains("the report is up to date"),
            bench.files("r", name),
        )
    };
    let (first, idle, fresh, drawn) = again("tradeoff.png");
    assert!(
        first.contains("Differences to SDEdit") && (idle, fresh, drawn.len()) == (false, false, 1),
        "{first}"
    );
    assert_eq!(good(bench.egsde("table", "r", &[])), first);
    let kept = bench.files("r", "distances.json");
    assert_eq!(kept.len(), 6);
    assert!(again("tradeoff.png") == (first.clone(), true, true, drawn.clone()));
    // A plot that was lost is drawn again; distances that were damaged are computed again, to the same table.
    std::fs::write(bench.folder.path().join("r/tiny/report/tradeoff.png"), "").unwrap();
    assert!(again("tradeoff.png") == (first.clone(), true, false, drawn.clone()));
    for (name, bytes) in &kept {
        let other_number =
            String::from_utf8(bytes.clone())
                .unwrap()
                .replacen("\"values\":[", "\"values\":[9", 1);
        std::fs::write(bench.folder.path().join("r").join(name), other_number).unwrap();
    }
    assert!(bench.files("r", "distances.json") != kept);
    assert!(again("tradeoff.png") == (first, true, true, drawn));
    assert!(bench.files("r", "distances.json") == kept);
    // Another row to compare with is another report.
    let output = bench.egsde("run", "r", &["--report", "--set", "compare_to=EGSDE"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("up to date"));
    assert!(good(output).contains("Differences to EGSDE"));
}

#[test]
fn a_reader_that_goes_ends_a_command_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_egsde"))
        .args(["plan", "experiments/ci.yaml"])
        .current_dir(root())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (
            ended.status.code(),
            String::from_utf8_lossy(&ended.stderr).as_ref()
        ),
        (Some(141), "")
    );
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
    let bench = Bench::new(&format!("{TINY}  - {{name: Cats, method: source}}\n"));
    good(bench.egsde("run", "r", &[]));
    good(bench.egsde("report", "r", &[]));
    let names: Vec<String> = [
        "table.md",
        "table.csv",
        "table.tex",
        "tradeoff.png",
        "tradeoff.svg",
        "grid.png",
    ]
    .map(|n| format!("tiny/report/{n}"))
    .into();
    let report = bench.files("r", "");
    for name in names {
        let (_, bytes) = report
            .iter()
            .find(|(n, _)| *n == name)
            .unwrap_or_else(|| panic!("no {name}"));
        if name.ends_with(".png") {
            let image = image::load_from_memory(bytes).unwrap().into_rgb8();
            assert!(
                image.width() > 300 && image.pixels().any(|p| p.0 != [255; 3]),
                "{name} is empty"
            );
        }
    }
    let page = bench.files("r", "index.html").remove(0).1;
    let shows = |text: &str| String::from_utf8_lossy(&page).contains(text);
    assert!(
        shows("data-value=\"Cats\"") && shows("alt=\"EGSDE: ") && !shows("alt=\"Cats: "),
        "the sources are shown once"
    );
}

#[test]
fn bad_input_gets_one_line_and_exit_code_2() {
    let with = |from: &str, to: &str| Bench::new(&TINY.replace(from, to)).egsde("run", "r", &[]);
    refused(
        with("pictures: 5", "picturs: 5"),
        &["e.yaml:6", "did you mean `pictures`?"],
    );
    refused(
        with("method: sdedit", "method: sdedt"),
        &["e.yaml:8", "did you mean `sdedit`?"],
    );
    refused(
        with("task: cat2dog-32", "task: cat2dgo-32"),
        &["e.yaml:3", "did you mean `cat2dog-32`?"],
    );
    refused(
        with("start: 0.4}", "start: -0.4}"),
        &["e.yaml:8", "start (M / T) is -0.4"],
    );
    refused(
        with("[1, 2]", "[2, 2]"),
        &["e.yaml:5", "seed 2 is given twice"],
    );
    refused(
        with("pictures: 5", "pictures: 5000"),
        &["cat has only 1000"],
    );
    refused(
        with(", ilvr_variance: fixedsmall", ""),
        &["set ilvr_variance to fixedsmall"],
    );
    refused(
        Bench::new(TINY).egsde("run", "r", &["--precision", "tf32"]),
        &["tf32 is for GPUs: take f32"],
    );
    refused(
        Bench::new(TINY).egsde("run", "e.yaml/inside", &[]),
        &["cannot write to", "--set runs_dir=DIR"],
    );
    refused(egsde(&["run", "no/such.yaml"]), &["no/such.yaml"]);
}

/// A project folder with the same files, for breaking some.
fn copy_of_project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["tasks", "datasets", "weights", "datasets/embedded"] {
        std::fs::create_dir_all(folder.path().join(part)).unwrap();
        for entry in std::fs::read_dir(root().join(part))
            .unwrap()
            .flatten()
            .filter(|e| e.path().is_file())
        {
            std::fs::copy(
                entry.path(),
                folder.path().join(part).join(entry.file_name()),
            )
            .unwrap();
        }
    }
    std::fs::write(folder.path().join("e.yaml"), TINY).unwrap();
    folder
}

fn run_in(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_egsde"))
        .args(["run", "e.yaml"])
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn wrong_weights_and_missing_data_say_what_to_do() {
    let project = copy_of_project();
    let weights = project.path().join("weights/dog_diffusion.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    refused(
        run_in(project.path()),
        &["dog_diffusion.safetensors: SHA-256 is", "expects"],
    );
    std::fs::remove_file(&weights).unwrap();
    refused(
        run_in(project.path()),
        &["dog_diffusion.safetensors is missing"],
    );
    std::fs::write(
        project.path().join("e.yaml"),
        TINY.replace("task: cat2dog-32", "task: cat2dog-32-train"),
    )
    .unwrap();
    refused(
        run_in(project.path()),
        &["cifar10 is missing from", "just fetch-cifar10"],
    );
}

#[test]
fn parity_prints_one_document_and_compare_notices() {
    let document: serde_json::Value = serde_json::from_str(&good(egsde(&[
        "parity",
        "crates/runner/tests/golden",
        "--only",
        "low_pass",
        "--json",
    ])))
    .unwrap();
    assert_eq!(
        (
            document["ok"].as_bool(),
            document["cases"].as_array().unwrap().len()
        ),
        (Some(true), 5)
    );
    let bench = Bench::new(&TINY.replace("[1, 2]", "[1]"));
    good(bench.egsde("run", "r", &[]));
    let stored = bench.folder.path().join("base.csv");
    let stored = stored.to_str().unwrap();
    good(bench.egsde("compare", "r", &[stored, "--update"]));
    good(bench.egsde("compare", "r", &[stored]));
    let other = Bench::new(
        &TINY
            .replace("[1, 2]", "[1]")
            .replace("lambda_s: 20", "lambda_s: 60"),
    );
    good(other.egsde("run", "r", &[]));
    let found = other.egsde("compare", "r", &[stored]);
    assert_eq!(found.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&found.stderr).contains("EGSDE l2"),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
}

#[test]
fn sweeps_reports_and_comparisons_tell_what_is_wrong() {
    let sweep = |text: &str| Bench::new(&format!("{TINY}sweep: {text}\n")).egsde("plan", "r", &[]);
    refused(
        sweep("{rows: [EGSDE], grid: {lamda_s: [1, 2]}}"),
        &[
            "e.yaml",
            "sweep of row \"EGSDE\"",
            "did you mean `lambda_s`?",
        ],
    );
    refused(
        sweep("{rows: [EGSD], grid: {start: [0.2]}}"),
        &["sweep names no row `EGSD`; did you mean `EGSDE`?"],
    );
    let many: Vec<String> = (1..=6000).map(|i| i.to_string()).collect();
    let many = format!(
        "{{rows: [EGSDE], grid: {{lambda_s: [{}]}}}}",
        many.join(", ")
    );
    refused(sweep(&many), &["12004 jobs, more than 10000: add --yes"]);
    good(Bench::new(&format!("{TINY}sweep: {many}\n")).egsde("plan", "r", &["--yes"]));
    refused(
        Bench::new(TINY).egsde("report", "r", &[]),
        &["holds no finished job: egsde run"],
    );
    refused(
        Bench::new(&format!("{TINY}compare_to: SDEdti\n")).egsde("plan", "r", &[]),
        &["compare_to names no row `SDEdti`; did you mean `SDEdit`?"],
    );
    let bench = Bench::new(&TINY.replace("[1, 2]", "[1]"));
    good(bench.egsde("run", "r", &[]));
    let stored = bench.folder.path().join("base.csv");
    let stored = stored.to_str().unwrap();
    good(bench.egsde("compare", "r", &[stored, "--update"]));
    let text = std::fs::read_to_string(stored).unwrap();
    std::fs::write(stored, text.replace("ILVR,", "Gone,")).unwrap();
    let found = bench.egsde("compare", "r", &[stored]);
    let said = String::from_utf8_lossy(&found.stderr).into_owned();
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(
        said.contains("Gone l2: stored")
            && said.contains("no number now")
            && said.contains("ILVR l2"),
        "{said}"
    );
}

#[test]
fn experts_of_a_list_work_alone_and_together() {
    let text = "name: x\ntitle: X\ntask: cat2dog-32\nseeds: [1]\npictures: 4\nmethods:\n  - {name: short, method: egsde, steps: 10, start: 0.4, low_pass_factor: 4, lambda_s: 20, lambda_i: 0.3}\n  - {name: long, method: egsde, steps: 10, start: 0.4, low_pass_factor: 4, experts: [{expert: domain_specific, weight: 20}, {expert: domain_independent, weight: 0.3}]}\n  - {name: class, method: egsde, steps: 10, start: 0.4, experts: [{expert: class_probability, class: dog, weight: 5}]}\n  - {name: against, method: egsde, steps: 10, start: 0.4, experts: [{expert: class_probability, class: cat, weight: 5}]}\n  - {name: late, method: egsde, steps: 10, start: 0.4, experts: [{expert: domain_specific, weight: {value: 20, from: 0.2, to: 0}}, {expert: class_probability, class: 1, weight: {linear: [0, 5]}}]}\n";
    let bench = Bench::new(text);
    let plan = good(bench.egsde("plan", "r", &[]));
    let cost = |row: &str| {
        plan.lines()
            .find(|l| l.contains(&format!("{row}-s1")))
            .map(|l| l.to_string())
            .unwrap_or_default()
    };
    // Four steps of diffusion; the extractor twice a step, once for a class; a weight that is 0 costs nothing.
    assert!(
        cost("long").contains("4 + 8")
            && cost("class").contains("4 + 4")
            && cost("late").contains("4 + 8"),
        "{plan}"
    );
    good(bench.egsde("run", "r", &[]));
    let document: serde_json::Value =
        serde_json::from_str(&good(bench.egsde("table", "r", &["--json"]))).unwrap();
    let number = |row: &str, metric: &str| {
        let rows = document["rows"].as_array().unwrap();
        rows.iter().find(|r| r["method"] == row).unwrap()["metrics"][metric]["mean"]
            .as_f64()
            .unwrap()
    };
    assert_eq!(
        number("short", "l2"),
        number("long", "l2"),
        "lambda_s and lambda_i are short for the list"
    );
    let rows = ["short", "class", "against", "late"];
    for (i, a) in rows.iter().enumerate() {
        assert!(
            rows[..i].iter().all(|b| number(a, "l2") != number(b, "l2")),
            "{a} changes nothing"
        );
    }
    let wrong = |from: &str, to: &str| Bench::new(&text.replace(from, to)).egsde("plan", "r", &[]);
    refused(
        wrong("class: dog", "class: dgo"),
        &["row \"class\"", "no class \"dgo\"", "cat, dog"],
    );
    refused(
        wrong("class: 1", "class: 2"),
        &["row \"late\"", "no class 2"],
    );
    refused(
        wrong("from: 0.2, to: 0", "from: 0.2, to: 0.5"),
        &["row \"late\"", "from 0.2 to 0.5"],
    );
    refused(
        wrong("expert: domain_independent", "expert: domain_independant"),
        &["domain_independent"],
    );
}

#[test]
fn own_kernels_change_the_last_rounding_only() {
    let bench = Bench::new(TINY);
    good(bench.egsde("run", "own", &["--seeds", "1"]));
    good(
        bench
            .command("run", "libtorchs", &["--seeds", "1"])
            .env("EGSDE_NO_KERNELS", "1")
            .output()
            .unwrap(),
    );
    let (own, libtorchs) = (bench.files("own", ".png"), bench.files("libtorchs", ".png"));
    assert!(
        own.len() == 15 && largest_difference(&own, &libtorchs) <= 1,
        "{} pictures",
        own.len()
    );
    for (runs, expected) in [("own", cfg!(target_arch = "x86_64")), ("libtorchs", false)] {
        let (_, scores) = &bench.files(runs, "scores.json")[0];
        let scores: serde_json::Value = serde_json::from_slice(scores).unwrap();
        assert_eq!(
            scores["scores"]["conditions"]["own_kernels"]
                .as_bool()
                .unwrap_or(false),
            expected,
            "{runs}"
        );
    }
}
