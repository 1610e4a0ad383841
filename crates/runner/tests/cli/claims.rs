//! `egsde claims`, the claims under a table and in a report, published numbers in a table of their
//! own, and what rows cost.

use crate::common::project::TestProject;
use crate::common::{
    AssertText, TestExperiment, assert_has, copy_folder, edited, files_below, table_mean, table_row,
};
use crate::{COMPARED, COMPARED_JOBS, FINISHED, TINY, nothing_to_do};
use egsde_runner::store::scores::Scores;
use serde_json::{Value, json};

/// The key of an experiment file that brings published numbers and claims.
const PUBLISHED: &str = "published: {table: \"1\", task: cat2dog}\n";

/// The claim of this name.
#[track_caller]
fn claim<'a>(document: &'a Value, name: &str) -> &'a Value {
    let claims = document["claims"].as_array().unwrap();
    let found = claims.iter().find(|claim| claim["name"] == name);
    found.unwrap_or_else(|| panic!("no claim {name} in {document}"))
}

#[test]
fn claims_are_judged_by_the_differences_of_the_table() {
    let document = FINISHED.egsde("claims", "r", &["--json"]).printed_json();
    assert_eq!(document["experiment"], "tiny");
    let table = FINISHED.table("r");
    assert_eq!(document["claims"], table["claims"], "both print the same");
    let found = claim(&document, "egsde-beats-sdedit");
    let rows = table["differences"]["rows"].as_array().unwrap();
    let less_sdedit = rows.iter().find(|row| row["method"] == "EGSDE").unwrap();
    for (test, metric) in [(0, "fid"), (1, "l2")] {
        let test = &found["tests"][test];
        assert_eq!(test["metric"], metric, "{found}");
        assert_eq!(
            test["difference"], less_sdedit["metrics"][metric],
            "{found}"
        );
        assert_eq!(test["ours"]["row"], table_mean(&table, "EGSDE", metric));
        assert_eq!(test["ours"]["than"], table_mean(&table, "SDEdit", metric));
        let high = test["difference"]["high"].as_f64().unwrap();
        assert_eq!(test["verdict"] == "reproduced", high < 0.0, "{found}");
    }
    assert_eq!(
        found["tests"][0]["paper"],
        json!({"row": 65.82, "than": 74.17})
    );
    // A row that the experiment lacks.
    let found = claim(&document, "dagger-lowest-fid");
    assert_eq!(found["verdict"], "not testable", "{found}");
    assert_eq!(found["tests"][0]["reason"], "no row EGSDE†", "{found}");
}

#[test]
fn claims_are_printed_for_people_and_stand_under_the_table() {
    let text = FINISHED.egsde("claims", "r", &[]).printed();
    let claim = "EGSDE has a lower FID than SDEdit at an L2 no higher";
    let parts = [claim, "- L2: EGSDE not higher than SDEdit", "65.82, 74.17"];
    assert_has(&text, &parts);
    assert_has(&text, &["not testable here: no row EGSDE†"]);
    let table = FINISHED.egsde("table", "r", &[]).printed();
    let (_, claims) = table.split_once("## Claims of the paper").unwrap();
    assert_has(claims, &[text.trim()]);
}

#[test]
fn published_numbers_of_another_scale_have_a_table_of_their_own() {
    let table = FINISHED.table("r");
    let is_ours = |row: &Value| row["source"] == "ours";
    assert!(table["rows"].as_array().unwrap().iter().all(is_ours));
    let published = table["published"]["rows"].as_array().unwrap();
    let cut = published.iter().find(|row| row["method"] == "CUT").unwrap();
    let note = |metric: &str| &cut["metrics"][metric]["note"]["provenance"];
    assert_eq!(
        (note("fid"), note("l2")),
        (&json!("quoted"), &json!("doubtful"))
    );
    let text = FINISHED.egsde("table", "r", &[]).printed();
    let (ours, theirs) = text
        .split_once("## Published: the paper's Table 1, cat2dog")
        .unwrap();
    let (ours, _) = ours.split_once("## Claims of the paper").unwrap();
    assert!(!ours.contains("StarGAN v2"), "{ours}");
    assert_has(theirs, &["54.88 ± 1.01", "76.21*", "59.78*?", "- *? CUT: "]);
}

#[test]
fn a_report_shows_claims_costs_and_published_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    FINISHED.egsde("report", "r", &["--out", out]).success();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let page = read("index.html");
    for section in ["claims", "cost", "published"] {
        assert_has(&page, &[&format!("<section id=\"{section}\">")]);
    }
    let tables = read("table.tex");
    assert_eq!(tables.matches("\\begin{tabular}").count(), 3, "{tables}");
    assert_has(&tables, &["% Claims of the paper", "% Published: "]);
    let (ours, published) = (read("table.csv"), read("published.csv"));
    assert!(!ours.contains("published"), "{ours}");
    assert_has(&published, &["tiny,CUT,published,l2,59.78,,,,doubtful"]);
    for name in ["published.parquet", "cost.png", "cost.svg"] {
        assert!(
            folder.path().join(name).metadata().unwrap().len() > 100,
            "{name}"
        );
    }
}

#[test]
fn an_experiment_that_names_no_table_of_the_paper_has_no_claims() {
    let experiment = FINISHED.copy();
    experiment.rewrite(&edited(COMPARED, PUBLISHED, ""));
    let text = experiment.egsde("claims", "r", &[]).printed();
    assert_has(&text, &["tiny: no claims", "`published`"]);
    let document = experiment.egsde("claims", "r", &["--json"]).printed_json();
    assert_eq!(document["claims"], json!([]));
    let table = experiment.egsde("table", "r", &[]).printed();
    assert!(
        !table.contains("Claims") && !table.contains("Published"),
        "{table}"
    );
    // Rows that no claim is about.
    experiment.rewrite(&edited(COMPARED, "name: SDEdit", "name: Mine").replace("SDEdit", "Mine"));
    assert_has(
        &experiment.run("r", &[]).success().error_text(),
        &[&nothing_to_do()],
    );
    let only = [
        "--set",
        "methods.EGSDE.name=Other",
        "--set",
        "methods.ILVR.name=Third",
    ];
    let text = experiment.egsde("claims", "r", &only).printed();
    assert_has(&text, &["tiny: none of the 11 claims"]);
    let table = experiment.egsde("table", "r", &only).printed();
    assert!(!table.contains("Claims"), "{table}");
}

#[test]
fn unfinished_jobs_are_told_after_the_claims() {
    let ended = TestExperiment::new(TINY).egsde("claims", "r", &[]).code(1);
    assert_has(&ended.output_text(), &["none of the 11 claims"]);
    assert_has(&ended.error_text(), &["6 of 6 jobs have no result"]);
}

/// A mistake in a project's files, and what its refusal names.
struct Mistake {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    parts: &'static [&'static str],
}

const CLAIMS: &str = "results/claims.yaml";

const MISTAKES: [Mistake; 6] = [
    Mistake {
        file: CLAIMS,
        from: "metric: l2, is: not higher",
        to: "metric: l22, is: not higher",
        parts: &[
            "claims.yaml:12:",
            "unknown metric `l22`",
            "did you mean `l2`?",
        ],
    },
    Mistake {
        file: CLAIMS,
        from: "is: not higher",
        to: "is: not hihger",
        parts: &["claims.yaml:12:", "did you mean `not higher`?"],
    },
    Mistake {
        file: CLAIMS,
        from: "metric: l2, is: not higher, than: SDEdit",
        to: "metric: l2, is: not higher, than: SDEdti",
        parts: &[
            "claims.yaml:5: claim `egsde-beats-sdedit`",
            "no method `SDEdti`",
            "did you mean `SDEdit`?",
        ],
    },
    Mistake {
        file: CLAIMS,
        from: "claims:\n",
        to: "claim:\n",
        parts: &["claims.yaml:4:", "did you mean `claims`?"],
    },
    Mistake {
        file: "results/published.csv",
        from: "fid,85.9,,quoted",
        to: "fid,85.9,,qouted",
        parts: &["published.csv:2:", "did you mean `quoted`?"],
    },
    Mistake {
        file: "e.yaml",
        from: "task: cat2dog}",
        to: "task: cat2dgo}",
        parts: &[
            "experiment tiny",
            "`1 cat2dgo`",
            "did you mean `1 cat2dog`?",
        ],
    },
];

#[test]
fn a_mistake_in_claims_or_published_numbers_is_told_before_anything_runs() {
    let project = TestProject::embedded(COMPARED);
    for Mistake {
        file,
        from,
        to,
        parts,
    } in MISTAKES
    {
        let text = project.read(file);
        assert!(text.contains(from), "{from:?} is not in {file}");
        project.write(file, text.replacen(from, to, 1));
        for command in ["plan", "run", "claims"] {
            project.egsde(&[command, "e.yaml"]).refused(parts);
        }
        project.write(file, text);
    }
    assert!(!project.path("runs").exists(), "nothing ran");
    // A project need not have claims.
    project.remove(CLAIMS);
    copy_folder(&FINISHED.path("r"), &project.path("runs"));
    let text = project.egsde(&["claims", "e.yaml"]).printed();
    assert_has(&text, &["has no claims about the paper's Table 1, cat2dog"]);
}

/// Writes other sampling conditions into the scores of jobs whose folder's name begins so.
fn edit_scores(experiment: &TestExperiment, jobs: &str, edit: fn(&mut Scores)) {
    let mut edited = 0;
    for file in files_below(&experiment.path("r/tiny"), "scores.json") {
        if file.name.starts_with(jobs) {
            let mut scores = Scores::from_sealed(&file.bytes).unwrap();
            edit(&mut scores);
            let path = experiment.path("r/tiny").join(&file.name);
            std::fs::write(path, scores.to_sealed().unwrap()).unwrap();
            edited += 1;
        }
    }
    assert!(edited > 0, "no job is called {jobs}");
}

#[test]
fn a_row_tells_what_its_images_cost() {
    let table = FINISHED.table("r");
    // Four of ten steps; ILVR takes all five.
    for (row, evaluations) in [("SDEdit", 4.0), ("EGSDE", 4.0), ("ILVR", 5.0)] {
        assert_eq!(table_mean(&table, row, "evaluations"), evaluations);
        let (all, networks) = (
            table_mean(&table, row, "seconds"),
            table_mean(&table, row, "network_seconds"),
        );
        assert!(all >= networks && networks > 0.0, "{row}: {all} {networks}");
    }
    // Images that no network made cost nothing that compares.
    let cats = &table_row(&table, "Cats")["metrics"];
    assert!(
        cats["seconds"].is_null() && cats["evaluations"].is_null(),
        "{cats}"
    );
    assert_eq!(table["machines"].as_array().unwrap().len(), 1, "{table}");
    let text = FINISHED.egsde("table", "r", &[]).printed();
    assert_has(
        &text,
        &[
            "| Evaluations ↓ |",
            "| s per picture ↓",
            "Seconds are of sampling",
        ],
    );
}

#[test]
fn times_of_different_machines_are_marked_and_not_averaged() {
    let experiment = FINISHED.copy();
    edit_scores(&experiment, "ilvr-s", |scores| {
        scores.sampling.processor = Some("another processor".into());
    });
    edit_scores(&experiment, "egsde-s2", |scores| {
        scores.sampling.processor = Some("another processor".into());
        scores.sampling.seconds = 1e6;
    });
    let table = experiment.table("r");
    assert_eq!(table["machines"].as_array().unwrap().len(), 2, "{table}");
    let egsde = &table_row(&table, "EGSDE")["metrics"]["seconds"];
    assert!(
        egsde["n"] == 1 && egsde["mean"].as_f64().unwrap() < 1e5,
        "{egsde}"
    );
    let ilvr = &table_row(&table, "ILVR")["metrics"]["seconds"];
    assert_eq!(
        (&ilvr["n"], &ilvr["note"]["machine"]),
        (&json!(2), &json!(1))
    );
    let text = experiment.egsde("table", "r", &[]).printed();
    let parts = [
        " (b) |",
        "(b) measured on another machine, CPU another processor, 2 threads: no time to compare",
        "The times of 1 jobs are left out",
    ];
    assert_has(&text, &parts);
}

#[test]
fn scores_without_a_processor_stay_finished() {
    let experiment = FINISHED.copy();
    edit_scores(&experiment, "", |scores| scores.sampling.processor = None);
    let files = experiment.files("r", "scores.json");
    assert_eq!(files.len(), COMPARED_JOBS);
    let has_processor = |file: &Value| file["scores"]["sampling"].get("processor").is_some();
    assert!(!files.iter().any(|file| has_processor(&file.json())));
    assert_has(
        &experiment.run("r", &[]).success().error_text(),
        &[&nothing_to_do()],
    );
    let text = experiment.egsde("table", "r", &[]).printed();
    assert_has(&text, &["on CPU not recorded, 2 threads"]);
}
