//! The pages of the report and of the study in headless Chromium; left out where there is none.
//!
//! Scripts run as the page is loaded and never wait: the browser prints the document right after,
//! however slow the machine is.

mod common;
#[path = "common/needs.rs"]
mod needs;

use common::{AssertText, TestExperiment, egsde};
use needs::tests;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Two rows and a sweep, with everything that a report shows.
const TEXT: &str = r#"name: b
title: "Browser & <friends>"
task: cat2dog-32
published: {table: "1", task: cat2dog}
seeds: [1, 2]
pictures: 6
compare_to: SDEdit
precision_recall: true
methods:
  - {name: SDEdit, method: sdedit, steps: 5, start: 0.4}
  - {name: EGSDE, method: egsde, steps: 5, start: 0.4, lambda_i: 0.3}
sweep: {rows: [EGSDE], grid: {lambda_s: [10, 40]}}
"#;

/// Names that Chromium has.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn find_chromium() -> Option<&'static str> {
    let runs = |name: &&str| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    BROWSERS.into_iter().find(runs)
}

/// The browser that is there.
fn chromium() -> &'static str {
    find_chromium().expect("without a browser these tests are left out")
}

/// Keeps the browser from the network, from asking, and from a small /dev/shm.
const QUIET: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
];

/// Collects the page's errors from its beginning.
const BEFORE_PAGE: &str = "<script>
window.errors = [];
const note = (e) => errors.push(String(e.message || e.target.src || e.target.href));
addEventListener('error', note, true);
console.error = (...a) => errors.push(a.join(' '));
</script>";

/// Runs a test's script in place of `SCRIPT` once everything is loaded, and shows its `result`
/// instead of the page.
const AFTER_PAGE: &str = "<script>
addEventListener('load', () => {
  const result = {};
  try { SCRIPT } catch (e) { errors.push(String(e)); }
  result.errors = errors;
  const out = document.createElement('pre');
  out.id = 'result';
  out.textContent = 'RESULT' + JSON.stringify(result) + 'END';
  document.body.replaceChildren(out);
});
</script>";

/// The document that a page has in the end.
fn dump_dom(page: &Path) -> String {
    let mut browser = Command::new(chromium());
    browser.args(QUIET).arg("--dump-dom");
    browser.arg(format!(
        "--user-data-dir={}",
        page.with_file_name("profile").display()
    ));
    browser.arg(format!("file://{}", page.display()));
    String::from_utf8_lossy(&browser.output().unwrap().stdout).into_owned()
}

/// The JSON that the script left in the document.
fn result_in(dom: &str) -> Option<Value> {
    let text = dom
        .split("<pre id=\"result\">RESULT")
        .nth(1)?
        .split("END")
        .next()?;
    let text = text
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    Some(serde_json::from_str(&text).unwrap())
}

/// Loads a page with a script at its end; returns what the script puts into `result`, with every
/// error of the page, of which there must be none.
#[track_caller]
fn ask_page(page: &Path, script: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(page).unwrap();
    let after = AFTER_PAGE.replace("SCRIPT", script);
    let text = text.replacen("<head>", &format!("<head>{BEFORE_PAGE}"), 1);
    let text = text.replacen("</body>", &format!("{after}</body>"), 1);
    let copy = folder.path().join("page.html");
    std::fs::write(&copy, text).unwrap();
    let dom = dump_dom(&copy);
    let found = result_in(&dom).unwrap_or_else(|| panic!("no result in {dom:.2000}"));
    assert_eq!(found["errors"], json!([]), "{found}");
    found
}

#[track_caller]
fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

/// Sorts by the FID column both ways, draws every image, and looks at what the page has.
const LOOK_AT_REPORT: &str = "
const table = document.querySelector('#table table');
const column = (i) => [...table.tBodies[0].rows]
  .map((r) => r.cells[i].dataset.value).filter((v) => v !== '').map(Number);
const headings = [...table.tHead.rows[0].cells];
const fid = headings.findIndex((c) => c.textContent.startsWith('FID'));
const button = headings[fid].querySelector('button');
button.click();
result.up = column(fid);
button.click();
result.down = column(fid);
const images = [...document.images];
const canvas = document.createElement('canvas').getContext('2d');
const isWhole = (i) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.drawImage(i, 0, 0, 1, 1);
  return i.naturalWidth > 0 && canvas.getImageData(0, 0, 1, 1).data[3] > 0;
};
result.images = images.length;
result.broken = images.filter((i) => !isWhole(i)).length;
result.drawings = document.querySelectorAll('figure svg').length;
result.title = document.title;
result.wide = document.documentElement.scrollWidth > innerWidth;
result.sections = [...document.querySelectorAll('section')].map((s) => s.id);";

fn the_report_opens_sorts_and_shows_every_image() {
    let experiment = TestExperiment::new(TEXT);
    experiment.run("r", &[]).success();
    experiment.egsde("report", "r", &[]).success();
    let page = experiment.path("r/b/report/index.html");
    let text = std::fs::read_to_string(&page).unwrap();
    for address in text.split("http://").skip(1) {
        assert!(
            address.starts_with("www.w3.org"),
            "a page needs no network: {address:.60}"
        );
    }
    let found = ask_page(&page, LOOK_AT_REPORT);
    let (up, down) = (numbers(&found["up"]), numbers(&found["down"]));
    assert_eq!((up.len(), down.len()), (3, 3));
    assert!(
        up.is_sorted() && down.iter().rev().is_sorted(),
        "{up:?} {down:?}"
    );
    // Three grids of six sources, one column for the source and three for the rows.
    assert_eq!(
        (&found["images"], &found["broken"]),
        (&json!(3 * 6 * 4), &json!(0))
    );
    assert_eq!(found["drawings"], 3);
    assert_eq!(
        (&found["title"], &found["wide"]),
        (&json!("Browser & <friends>"), &json!(false))
    );
    let sections = [
        "table",
        "differences",
        "tradeoff",
        "cost",
        "curves",
        "pictures",
        "published",
        "conditions",
    ];
    assert_eq!(found["sections"], json!(sections));
}

/// Left, right, a mistake taken back, then left by touch and the rest by key.
const ANSWER_STUDY: &str = "
const press = (key) =>
  document.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
press('ArrowLeft'); press('ArrowRight'); press('ArrowRight'); press('Backspace');
document.getElementById('left').click();
press('ArrowLeft'); press('ArrowRight'); press('ArrowLeft');
result.done = !document.getElementById('done').hidden;
result.left = document.getElementById('question').hidden;
result.name = document.getElementById('export').download;
const file = new XMLHttpRequest();
file.open('GET', document.getElementById('export').href, false);
file.send();
result.csv = file.responseText;";

/// The last cell of each line but the first.
fn chosen_sides(csv: &str) -> Vec<&str> {
    csv.lines()
        .skip(1)
        .map(|line| line.split(',').nth(2).unwrap())
        .collect()
}

/// How many answers were for a method, by the study's key.
fn answers_for(method: &str, key: &str, sides: &[&str]) -> usize {
    let mut count = 0;
    for (line, side) in key.lines().skip(1).zip(sides) {
        let cells: Vec<&str> = line.split(',').collect();
        let chosen = if *side == "left" { cells[2] } else { cells[3] };
        count += usize::from(chosen == method);
    }
    count
}

fn a_study_goes_from_page_to_column() {
    let experiment = TestExperiment::new(TEXT);
    experiment.run("r", &[]).success();
    let study = experiment.path("study");
    let out = study.to_str().unwrap();
    let rows = "SDEdit,EGSDE lambda_s=40";
    let options = ["--rows", rows, "--out", out, "--pictures", "6"];
    experiment.egsde("study make", "r", &options).success();
    let page = study.join("index.html");
    let text = std::fs::read_to_string(&page).unwrap();
    for hidden in ["SDEdit", "EGSDE", "cat-0"] {
        assert!(!text.contains(hidden), "the page tells {hidden}");
    }
    let found = ask_page(&page, ANSWER_STUDY);
    assert_eq!(found["done"], true, "{found}");
    let csv = found["csv"].as_str().unwrap();
    let sides = chosen_sides(csv);
    assert_eq!(sides, ["left", "right", "left", "left", "right", "left"]);
    let answers = study.join(found["name"].as_str().unwrap());
    std::fs::write(&answers, csv).unwrap();
    let answers = answers.to_str().unwrap();
    let scored = egsde(&["study", "score", out, answers, "--json"]).printed_json();
    let preferences = scored.as_array().unwrap();
    let sdedit = preferences
        .iter()
        .find(|found| found["method"] == "SDEdit")
        .unwrap();
    let key = std::fs::read_to_string(study.join("key.csv")).unwrap();
    assert_eq!(
        sdedit["preferred"],
        answers_for("SDEdit", &key, &sides),
        "{scored}"
    );
    assert_eq!(sdedit["answers"], 6, "{scored}");
}

fn main() -> ExitCode {
    let missing = "needs Chromium: apt-get install chromium";
    needs::run(
        find_chromium().is_none().then(|| missing.into()),
        tests![
            the_report_opens_sorts_and_shows_every_image,
            a_study_goes_from_page_to_column,
        ],
    )
}
