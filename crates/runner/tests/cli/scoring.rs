//! Other metrics and other feature networks score the images that are there and sample nothing.

use crate::common::images::{ImageState, image_states};
use crate::common::project::TestProject;
use crate::common::{AssertText, assert_has, copy_folder, files_below, metric_keys, table_mean};
use crate::{COMPARED, COMPARED_JOBS, FINISHED, nothing_to_do};
use egsde_metrics::registry::{FID, L2, METRICS, Metric};
use egsde_runner::config::experiment::Experiment;
use egsde_runner::plan::Plan;
use egsde_runner::project::Project;
use egsde_runner::run::scheduler::{JobSelection, Resources, Workers, run_plan};
use egsde_runner::store::results::Results;
use serde_json::Value;
use std::collections::BTreeSet;
use tch::Device;

/// What a run's jobs hold: the state of their images, and their scores.
struct Scored {
    images: Vec<ImageState>,
    scores: Vec<Value>,
}

impl Scored {
    fn read(project: &TestProject) -> Self {
        let runs = project.path("runs");
        let files = files_below(&runs, "scores.json");
        let scores = files
            .iter()
            .map(|file| file.json()["scores"].take())
            .collect();
        Self {
            images: image_states(&runs),
            scores,
        }
    }

    /// The images and how they were made must be the same, and how they were scored must not.
    #[track_caller]
    fn assert_scored_again(&self, before: &Self) {
        assert_eq!(self.images, before.images);
        assert_eq!(
            (self.scores.len(), before.scores.len()),
            (COMPARED_JOBS, COMPARED_JOBS)
        );
        for (after, before) in self.scores.iter().zip(&before.scores) {
            assert_eq!(after["sampling"], before["sampling"]);
            assert_eq!(after["images_sha256"], before["images_sha256"]);
            assert_ne!(after["scoring"], before["scoring"]);
        }
    }

    /// The keys of the metrics that every job has.
    fn metrics(&self) -> BTreeSet<String> {
        let all: BTreeSet<BTreeSet<String>> = self.scores.iter().map(metric_keys).collect();
        assert_eq!(all.len(), 1, "jobs differ in their metrics: {all:?}");
        all.into_iter().next().unwrap()
    }
}

/// Runs the project's experiment with these metrics only; returns how many jobs that took.
fn run_with_metrics(project: &Project, metrics: Vec<&'static Metric>) -> usize {
    let experiment = Experiment::read(&project.resolve("e.yaml"), project, &[]).unwrap();
    let plan = Plan::with_metrics(experiment, project, metrics).unwrap();
    let resources = Resources {
        workers: Workers::default(),
        devices: vec![Device::Cpu],
        save_every: 64,
    };
    let mut results = Results::read(&plan);
    let ran = run_plan(&mut results, project, &resources, &JobSelection::default()).unwrap();
    assert_eq!(results.count(), plan.jobs.len(), "new results are read");
    ran
}

#[test]
fn a_new_metric_or_feature_network_scores_what_is_there_and_samples_nothing() {
    let project = TestProject::embedded(COMPARED);
    copy_folder(&FINISHED.path("r"), &project.path("runs"));
    let all = Scored::read(&project);
    let computed = METRICS.iter().filter(|metric| metric.is_from_images());
    let computed = computed.map(|metric| metric.key.to_string());
    assert_eq!(all.metrics(), computed.collect());

    // With two metrics only.
    assert_eq!(
        run_with_metrics(&project.open(), vec![&FID, &L2]),
        COMPARED_JOBS
    );
    let fewer = Scored::read(&project);
    fewer.assert_scored_again(&all);
    assert_eq!(fewer.metrics(), ["fid", "l2"].map(String::from).into());

    // With all metrics, which the others then appear as.
    let log = project.run().success().error_text();
    assert_has(&log, &[&format!("ran {COMPARED_JOBS} jobs")]);
    let again = Scored::read(&project);
    again.assert_scored_again(&fewer);
    assert_eq!(again.metrics(), all.metrics());
    let table = project.table();
    assert!(table_mean(&table, "EGSDE", "kid").is_finite(), "{table}");

    // With another feature network.
    let task = "configs/tasks/cat2dog-32.yaml";
    project.change_weights("checkpoints/embedded/cifar10_features.safetensors", task);
    assert_has(
        &project.run().success().error_text(),
        &[&format!("ran {COMPARED_JOBS} jobs")],
    );
    let other = Scored::read(&project);
    other.assert_scored_again(&again);
    for (after, before) in other.scores.iter().zip(&again.scores) {
        let (after, before) = (
            &after["scoring"]["identity"],
            &before["scoring"]["identity"],
        );
        assert_ne!(after["sha256"], before["sha256"]);
        assert_eq!(after["metrics"], before["metrics"]);
    }
    assert_has(&project.run().success().error_text(), &[&nothing_to_do()]);
}

/// The classifier behind the features was trained on CIFAR-10's classes, the task's target among
/// them; its accuracy on test images is 0.91.
#[test]
fn a_classifier_tells_how_many_translations_sources_and_references_are_the_target() {
    let scored = files_below(&FINISHED.path("r"), "scores.json");
    for file in &scored {
        let metrics = file.json()["scores"]["metrics"].take();
        let share = |key: &str| metrics[key].as_f64().unwrap();
        assert!(share("reference_target_share") > 0.85, "{metrics}");
        assert!(share("source_target_share") < 0.5, "{metrics}");
        // Five images: the share is a whole number of fifths.
        let fifths = share("target_share") * 5.0;
        assert!((fifths - fifths.round()).abs() < 1e-9, "{metrics}");
    }
    let table = FINISHED.table("r");
    let sources = table["rows"].as_array().unwrap().iter();
    let sources = sources.filter(|row| row["method"] == "Cats").count();
    assert_eq!(sources, 1);
    let share = table_mean(&table, "Cats", "target_share");
    let told = scored[0].json()["scores"]["metrics"]["source_target_share"].take();
    assert_eq!(
        Some(share),
        told.as_f64(),
        "sources as translations are classified as sources"
    );
    let text = FINISHED.egsde("table", "r", &[]).printed();
    assert_has(&text, &["Called target %", "calls dog; of the sources"]);
}

#[test]
fn without_a_class_of_the_target_there_is_no_target_share() {
    let project = TestProject::embedded(COMPARED);
    copy_folder(&FINISHED.path("r"), &project.path("runs"));
    project.replace(
        "configs/tasks/cat2dog-32.yaml",
        "domain: dog",
        "domain: puppy",
    );
    project.run().success();
    for metrics in Scored::read(&project).scores.iter().map(metric_keys) {
        assert!(!metrics.contains("target_share"), "{metrics:?}");
    }
    let text = project.egsde(&["table", "e.yaml"]).printed();
    assert!(!text.contains("Called target"), "{text}");
}
