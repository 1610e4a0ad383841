//! Tables as files that other programs read, and what they are never written over.

use crate::FINISHED;
use crate::common::{AssertText, TestExperiment, assert_has, edited};
use std::path::Path;
use std::process::Command;

/// Two rows whose names mean something in Markdown or LaTeX.
const NAMES: &str = r#"name: names
title: "Names | and <b>"
task: cat2dog-32
seeds: [1]
pictures: 4
compare_to: "x^2 ~ y_{1}"
methods:
  - {name: "x^2 ~ y_{1}", method: sdedit, steps: 5, start: 0.4}
  - {name: "a|b\nc", method: source}
"#;

#[test]
fn names_are_escaped_in_each_format() {
    let experiment = TestExperiment::new(NAMES);
    experiment.run("r", &[]).success();
    let table = experiment.egsde("table", "r", &[]).printed();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    // Columns are what stands between bars without a backslash.
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let headings = bars(lines[0]);
    assert_has(&table, &[r"| a\|b c ", "x^2 ~ y_{1}"]);
    for line in &lines[..4] {
        assert_eq!(bars(line), headings, "{line}");
    }
    experiment.egsde("report", "r", &[]).success();
    let report = |name: &str| {
        let path = experiment.path("r/names/report").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    assert_has(
        &report("table.tex"),
        &[
            r"x\textasciicircum{}2 \textasciitilde{} y\_\{1\} & ",
            r"a\textbar{}b c & ",
        ],
    );
    assert_has(&report("table.csv"), &["\"a|b\nc\""]);
    assert_has(&report("index.html"), &["a|b\nc", "Names | and &lt;b&gt;"]);
}

#[test]
fn parquet_is_filtered_and_sorted_in_pyarrow_and_pandas() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    FINISHED.egsde("report", "r", &["--out", out]).success();
    let python = std::env::var("EGSDE_PYTHON").unwrap_or("python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_parquet.py");
    for table in ["table", "published"] {
        let ended = Command::new(&python)
            .arg(&script)
            .args([format!("{table}.parquet"), format!("{table}.csv")])
            .current_dir(folder.path())
            .output();
        match ended {
            Ok(ended) if ended.status.code() == Some(77) => {
                println!(
                    "skipped: neither pyarrow nor pandas is installed (EGSDE_PYTHON names another \
                     Python)"
                );
            }
            Ok(ended) => {
                let text = String::from_utf8_lossy(&ended.stderr);
                assert!(ended.status.success(), "{table}: {text}");
            }
            Err(error) => println!("skipped: no Python: {error}"),
        }
    }
}

#[test]
fn nothing_is_written_over_files_of_other_origin() {
    let experiment = FINISHED.copy();
    let own = "what I wrote\n";
    // A report beside one's own page.
    let site = experiment.path("site");
    let out = site.to_str().unwrap();
    std::fs::create_dir(&site).unwrap();
    std::fs::write(site.join("index.html"), own).unwrap();
    let parts = ["index.html is there", "--force"];
    experiment
        .egsde("report", "r", &["--out", out])
        .refused(&parts);
    assert_eq!(
        std::fs::read_to_string(site.join("index.html")).unwrap(),
        own
    );
    experiment
        .egsde("report", "r", &["--out", out, "--force"])
        .success();
    // A report of this program may be drawn again.
    experiment.egsde("report", "r", &["--out", out]).success();
    // Numbers over another file.
    let notes = experiment.path("notes.csv");
    let baseline = notes.to_str().unwrap();
    std::fs::write(&notes, own).unwrap();
    let parts = ["notes.csv is there and holds no stored numbers", "--force"];
    experiment
        .egsde("compare", "r", &[baseline, "--update"])
        .refused(&parts);
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), own);
    experiment
        .egsde("compare", "r", &[baseline, "--update", "--force"])
        .success();
    experiment
        .egsde("compare", "r", &[baseline, "--update"])
        .success();
    // A study over one that raters may be answering.
    let study = experiment.path("study");
    let options = ["--rows", "EGSDE,SDEdit", "--out", study.to_str().unwrap()];
    experiment.egsde("study make", "r", &options).success();
    let key = std::fs::read(study.join("key.csv")).unwrap();
    let seeded = [&options[..], &["--seed", "9"]].concat();
    experiment
        .egsde("study make", "r", &seeded)
        .refused(&["holds a study already", "--force"]);
    assert_eq!(std::fs::read(study.join("key.csv")).unwrap(), key);
    let forced = [&seeded[..], &["--force"]].concat();
    experiment.egsde("study make", "r", &forced).success();
    assert_ne!(std::fs::read(study.join("key.csv")).unwrap(), key);
}

/// DejaVu Sans with the letter A in the place of one Chinese character: the table of characters is
/// replaced by one of format 12 at the file's end.
fn font_with(character: char) -> Vec<u8> {
    let font = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/fonts/DejaVuSans.ttf");
    let mut bytes = std::fs::read(font).unwrap();
    let glyph_of_a = 36u32;
    let mut cmap: Vec<u8> = Vec::new();
    // Version 0, one table: platform 3 (Windows), encoding 10 (all of Unicode), offset 12.
    for short in [0u16, 1, 3, 10] {
        cmap.extend(short.to_be_bytes());
    }
    cmap.extend(12u32.to_be_bytes());
    // Format 12, reserved, then length, language, one group of one character.
    for short in [12u16, 0] {
        cmap.extend(short.to_be_bytes());
    }
    for long in [28, 0, 1, character as u32, character as u32, glyph_of_a] {
        cmap.extend(long.to_be_bytes());
    }
    let tables = u16::from_be_bytes([bytes[4], bytes[5]]);
    let record = (0..usize::from(tables))
        .map(|i| 12 + 16 * i)
        .find(|at| bytes[*at..].starts_with(b"cmap"))
        .expect("a font has a cmap");
    let (offset, length) = (bytes.len() as u32, cmap.len() as u32);
    bytes[record + 8..record + 12].copy_from_slice(&offset.to_be_bytes());
    bytes[record + 12..record + 16].copy_from_slice(&length.to_be_bytes());
    bytes.extend(cmap);
    bytes
}

#[test]
fn plots_take_a_font_of_the_machine_or_tell_of_boxes() {
    // Of the plane of ideographs for compatibility, which few fonts have.
    let name = '\u{2f800}';
    let experiment = TestExperiment::new(&edited(NAMES, "x^2 ~ y_{1}", &name.to_string()));
    experiment.run("r", &[]).success();
    let fonts = tempfile::tempdir().unwrap();
    let report = |folder: &str| {
        let mut egsde = experiment.command("report", "r", &[]);
        // No folder but this one is searched.
        egsde
            .env("HOME", "/nonexistent")
            .env("XDG_DATA_DIRS", "/nonexistent");
        egsde.env("XDG_DATA_HOME", folder);
        let ended = egsde.output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let boxes = format!("plots show boxes for {name}");
    assert_has(&report("/nonexistent"), &[&boxes, "fonts-noto-cjk"]);
    let plot = |experiment: &TestExperiment| experiment.files("r", "tradeoff.png");
    let with_boxes = plot(&experiment);
    std::fs::create_dir(fonts.path().join("fonts")).unwrap();
    std::fs::write(fonts.path().join("fonts/own.ttf"), font_with(name)).unwrap();
    let log = report(fonts.path().to_str().unwrap());
    assert!(!log.contains("boxes"), "{log}");
    assert_ne!(
        plot(&experiment),
        with_boxes,
        "the legend has another letter"
    );
}
