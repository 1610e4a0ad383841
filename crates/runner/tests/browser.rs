//! The report's and the study's pages in headless Chromium; skipped with a message where there is none (`apt install chromium`).

mod common;

use common::{Bench, egsde, good};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const TEXT: &str = "name: b\ntitle: \"Browser & <friends>\"\ntask: cat2dog-32\npublished: {table: \"1\", task: cat2dog}\nseeds: [1, 2]\npictures: 6\ncompare_to: SDEdit\nprecision_recall: true\nmethods:\n  - {name: SDEdit, method: sdedit, steps: 5, start: 0.4}\n  - {name: EGSDE, method: egsde, steps: 5, start: 0.4, lambda_i: 0.3}\nsweep: {rows: [EGSDE], grid: {lambda_s: [10, 40]}}\n";

fn chromium() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        println!("skipped: no Chromium on this machine");
    }
    found
}

/// Loads a page with a script at its end; what the script puts into `result` comes back, with every error of the page.
fn ask(chromium: &str, page: &Path, script: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(page).unwrap();
    let before = "<script>window.errors = []; addEventListener('error', (e) => errors.push(String(e.message || e.target.src || e.target.href)), true); console.error = (...a) => errors.push(a.join(' '));</script>";
    let after = format!(
        "<script>(async () => {{ const result = {{}}; try {{ {script} }} catch (e) {{ errors.push(String(e)); }} result.errors = errors; const out = document.createElement('pre'); out.id = 'result'; out.textContent = 'RESULT' + JSON.stringify(result) + 'END'; document.body.replaceChildren(out); }})();</script>"
    );
    let text = text
        .replacen("<head>", &format!("<head>{before}"), 1)
        .replacen("</body>", &format!("{after}</body>"), 1);
    let copy = folder.path().join("page.html");
    std::fs::write(&copy, text).unwrap();
    let profile = format!(
        "--user-data-dir={}",
        folder.path().join("profile").display()
    );
    let quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
        "--disable-component-update",
    ];
    let dump = || {
        let mut browser = Command::new(chromium);
        browser.args(quiet).args([
            &profile,
            "--virtual-time-budget=60000",
            "--dump-dom",
            &format!("file://{}", copy.display()),
        ]);
        let dom = String::from_utf8_lossy(&browser.output().unwrap().stdout).into_owned();
        let json = dom
            .split("<pre id=\"result\">RESULT")
            .nth(1)
            .and_then(|t| t.split("END").next())
            .map(String::from);
        json.ok_or(dom)
    };
    // On a loaded machine virtual time can run out before the pictures are decoded.
    let json = dump()
        .or_else(|_| dump())
        .or_else(|_| dump())
        .unwrap_or_else(|dom| panic!("no result in {dom:.2000}"));
    serde_json::from_str(
        &json
            .replace("&amp;", "&")
            .replace("&lt;", "<")
            .replace("&gt;", ">"),
    )
    .unwrap()
}

#[test]
fn the_report_opens_sorts_and_shows_every_picture() {
    let Some(chromium) = chromium() else { return };
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "r", &[]));
    good(bench.egsde("report", "r", &[]));
    let page = bench.folder.path().join("r/b/report/index.html");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(
        !text.contains("http://")
            || text
                .matches("http://")
                .all(|_| text.contains("http://www.w3.org")),
        "a page needs no network"
    );
    let script = "
        const table = document.querySelector('#table table');
        const column = (i) => [...table.tBodies[0].rows].map((r) => r.cells[i].dataset.value).filter((v) => v !== '').map(Number);
        const fid = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.startsWith('FID'));
        const button = table.tHead.rows[0].cells[fid].querySelector('button');
        button.click(); result.up = column(fid); button.click(); result.down = column(fid);
        const images = [...document.images];
        await Promise.all(images.map((i) => i.decode()));
        result.images = images.length; result.broken = images.filter((i) => !i.naturalWidth).length;
        result.drawings = document.querySelectorAll('figure svg').length;
        result.title = document.title; result.wide = document.documentElement.scrollWidth > innerWidth;
        result.sections = [...document.querySelectorAll('section')].map((s) => s.id);";
    let found = ask(chromium, &page, script);
    assert_eq!(found["errors"].as_array().map(Vec::len), Some(0), "{found}");
    let numbers = |key: &str| {
        found[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let (up, down) = (numbers("up"), numbers("down"));
    assert!(
        up.len() == 17
            && up.windows(2).all(|w| w[0] <= w[1])
            && down.windows(2).all(|w| w[0] >= w[1]),
        "{up:?} {down:?}"
    );
    // Three grids of six sources, a column each for the source and three rows.
    assert_eq!(
        (
            found["images"].as_u64(),
            found["broken"].as_u64(),
            found["drawings"].as_u64()
        ),
        (Some(3 * 6 * 4), Some(0), Some(2))
    );
    assert_eq!(
        (found["title"].as_str(), found["wide"].as_bool()),
        (Some("Browser & <friends>"), Some(false))
    );
    assert_eq!(
        found["sections"],
        serde_json::json!([
            "table",
            "differences",
            "tradeoff",
            "curves",
            "pictures",
            "conditions"
        ])
    );
}

#[test]
fn a_study_goes_from_page_to_column() {
    let Some(chromium) = chromium() else { return };
    let bench = Bench::new(TEXT);
    good(bench.egsde("run", "r", &[]));
    let study = bench.folder.path().join("study");
    let out = study.to_str().unwrap();
    good(bench.egsde(
        "study make",
        "r",
        &[
            "--rows",
            "SDEdit,EGSDE lambda_s=40",
            "--out",
            out,
            "--pictures",
            "6",
        ],
    ));
    let page = study.join("index.html");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(
        !text.contains("SDEdit") && !text.contains("EGSDE") && !text.contains("cat-0"),
        "the page tells what it must not"
    );
    // Left, right, a mistake taken back, then left by touch and the rest by key.
    let script = "
        const press = (key) => document.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
        press('ArrowLeft'); press('ArrowRight'); press('ArrowRight'); press('Backspace');
        document.getElementById('left').click(); press('ArrowLeft'); press('ArrowRight'); press('ArrowLeft');
        result.done = !document.getElementById('done').hidden; result.left = document.getElementById('question').hidden;
        result.name = document.getElementById('export').download;
        result.csv = await (await fetch(document.getElementById('export').href)).text();";
    let found = ask(chromium, &page, script);
    assert_eq!(
        (
            found["errors"].as_array().map(Vec::len),
            found["done"].as_bool()
        ),
        (Some(0), Some(true)),
        "{found}"
    );
    let csv = found["csv"].as_str().unwrap();
    let sides: Vec<&str> = csv
        .lines()
        .skip(1)
        .map(|l| l.rsplit(',').next().unwrap())
        .collect();
    assert_eq!(sides, ["left", "right", "left", "left", "right", "left"]);
    let answers = study.join(found["name"].as_str().unwrap());
    std::fs::write(&answers, csv).unwrap();
    let scored: Value = serde_json::from_str(&good(egsde(&[
        "study",
        "score",
        out,
        answers.to_str().unwrap(),
        "--json",
    ])))
    .unwrap();
    // The key says which answers were for which method.
    let key = std::fs::read_to_string(study.join("key.csv")).unwrap();
    let wins = key.lines().skip(1).zip(&sides).filter(|(line, side)| {
        let cells: Vec<&str> = line.split(',').collect();
        cells[if **side == "left" { 2 } else { 3 }] == "SDEdit"
    });
    let sdedit = scored
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["method"] == "SDEdit")
        .unwrap();
    assert_eq!(
        (sdedit["preferred"].as_u64(), sdedit["answers"].as_u64()),
        (Some(wins.count() as u64), Some(6)),
        "{scored}"
    );
}
