//! `egsde run --preview`: a first look at the run's own images.

use crate::COMPARED;
use crate::common::{AssertText, TestExperiment, assert_has, assert_same_runs, edited, interrupt};
use std::process::Stdio;

/// [`COMPARED`] with more images, so that a few of them are less than all.
fn experiment() -> TestExperiment {
    TestExperiment::new(&edited(COMPARED, "pictures: 5", "pictures: 12"))
}

/// Checks that two runs made the same results; the preview lies beside them.
#[track_caller]
fn assert_same_results(experiment: &TestExperiment, previewed: &str, plain: &str) {
    let preview = experiment.path(&format!("{previewed}/tiny/preview"));
    std::fs::remove_dir_all(preview).unwrap();
    assert_same_runs(experiment, previewed, plain);
}

/// The evaluations that a log's last line of progress shows: done and in total.
fn last_progress(log: &str) -> Option<(u64, u64)> {
    let line = log.lines().rfind(|line| line.contains(" evaluations "))?;
    let (done, rest) = line.strip_prefix("tiny: ")?.split_once('/')?;
    Some((done.parse().ok()?, rest.split(' ').next()?.parse().ok()?))
}

#[test]
fn a_preview_shows_the_first_images_and_makes_none_twice() {
    let experiment = experiment();
    experiment.run("plain", &[]).success();
    let log = experiment
        .run("r", &["--preview", "4"])
        .success()
        .error_text();
    let parts = [
        "# Tiny: a first look",
        "4 pictures, 1 seeds",
        "| EGSDE",
        "| Cats",
        "r/tiny/preview: table.md, grid.png",
        "tiny: ran 7 jobs",
    ];
    assert_has(&log, &parts);
    assert!(!log.contains("(published)"), "{log}");
    let table = std::fs::read_to_string(experiment.path("r/tiny/preview/table.md")).unwrap();
    assert_has(&table, &["| ILVR", "| SDEdit"]);
    let grid = image::open(experiment.path("r/tiny/preview/grid.png")).unwrap();
    // The sources and three rows of four images.
    assert!(grid.width() > 4 * 96 && grid.height() > 4 * 96);
    // The whole run is what it would have been, and every evaluation counts once.
    assert_same_results(&experiment, "r", "plain");
    let (done, total) = last_progress(&log).unwrap();
    assert_eq!(done, total, "{log}");
    for scores in experiment.scores("r") {
        let made = scores["sampling"]["images"].as_u64().unwrap();
        assert!([8, 12].contains(&made), "{scores}");
    }
    // Where all is done there is nothing to show first.
    let log = experiment
        .run("r", &["--preview", "4"])
        .success()
        .error_text();
    assert!(!log.contains("first look"), "{log}");
}

#[test]
fn a_preview_of_all_images_is_no_preview() {
    let experiment = experiment();
    let options = ["--preview", "12", "--limit", "1"];
    let log = experiment.run("r", &options).success().error_text();
    assert!(!log.contains("first look"), "{log}");
    experiment
        .run("r", &["--preview", "0"])
        .refused(&["--preview", "at least 1"]);
}

#[test]
fn a_run_that_is_stopped_after_its_preview_goes_on_with_its_images() {
    let text = edited(COMPARED, "pictures: 5", "pictures: 24");
    let experiment = TestExperiment::new(&edited(&text, "seeds: [1, 2]", "seeds: [1]"));
    let options = ["--preview", "4", "--save-every", "4", "--batch-size", "4"];
    let mut run = experiment.command("run", "r", &options);
    let child = run.stderr(Stdio::piped()).spawn().unwrap();
    while !experiment.path("r/tiny/preview/grid.png").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let text = interrupt(child);
    assert_has(
        &text,
        &["interrupted: ", "the same command goes on from there"],
    );
    let kept = experiment.files("r", ".png").len();
    assert!(kept >= 3 * 4, "{kept} images were kept");
    experiment.run("r", &options).success();
    experiment.run("plain", &["--batch-size", "4"]).success();
    assert_same_results(&experiment, "r", "plain");
}
