//! `egsde eval` and `egsde weights` through the real binary, on the reference's own images.

mod common;

use common::evaluation::{Evaluation, Question, golden_images};
use common::{AssertText, assert_has, checkout, copy_folder, egsde, metric_keys};
use egsde_metrics::registry::{Computation, METRICS, Metric};
use serde_json::Value;
use std::collections::BTreeSet;

/// A number must be near the reference's.
#[track_caller]
fn assert_near(value: &Value, reference: f64, tolerance: f64) {
    let got = value.as_f64().unwrap();
    assert!(
        (got - reference).abs() <= tolerance * reference,
        "{got} for {reference}"
    );
}

/// Keys of the metrics that are `wanted`.
fn registry_keys(wanted: fn(&Metric) -> bool) -> BTreeSet<String> {
    let wanted = METRICS.iter().filter(|metric| wanted(metric));
    wanted.map(|metric| metric.key.into()).collect()
}

#[test]
fn eval_gives_the_reference_numbers_and_stops_at_bad_files() {
    let evaluation = Evaluation::new();
    let (source, translated) = (golden_images("a"), golden_images("b"));
    let question = Question {
        source: Some(&source),
        translated: &translated,
        target: &source,
        options: &[],
    };
    // pair_metrics and frechet_singular of tests/golden/cases.json.
    let whole = evaluation.ask(&question).printed_json();
    assert_near(&whole["metrics"]["l2"], 32.025266329447426, 1e-5);
    assert_near(&whole["metrics"]["psnr"], 22.84298562457377, 1e-5);
    assert_near(&whole["metrics"]["ssim"], 0.7841544051965078, 1e-5);
    assert_near(&whole["metrics"]["fid"], 20207.600974172, 1e-3);
    // All that the registry computes of folders, and precision and recall are fractions.
    let computed = registry_keys(|metric| {
        metric.is_from_images() && !matches!(metric.computation, Computation::FromClassifier(_))
    });
    assert_eq!(metric_keys(&whole), computed);
    assert!(
        whole["metrics"]["kid"].as_f64().is_some_and(f64::is_finite),
        "{whole}"
    );
    for metric in ["precision", "recall"] {
        let fraction = whole["metrics"][metric].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&fraction), "{metric} is {fraction}");
    }
    // Without sources there are no pairs.
    let sets = evaluation
        .ask(&Question {
            source: None,
            ..question
        })
        .printed_json();
    let over_sets = registry_keys(|metric| matches!(metric.computation, Computation::OverSets(_)));
    assert_eq!(metric_keys(&sets), over_sets);
    assert_eq!(sets["metrics"]["kid"], whole["metrics"]["kid"]);

    let bad = evaluation.path("bad");
    copy_folder(&translated, &bad);
    std::fs::write(bad.join("im5.png"), b"").unwrap();
    let question = Question {
        translated: &bad,
        ..question
    };
    let text = evaluation.ask(&question).code(2).error_text();
    assert_has(&text, &["im5.png", "empty", "--skip-bad"]);
    let question = Question {
        options: &["--skip-bad"],
        ..question
    };
    let skipped = evaluation.ask(&question).printed_json();
    assert_eq!(skipped["pairs"], 5, "{skipped}");
    assert_eq!(skipped["skipped"].as_array().unwrap().len(), 1, "{skipped}");
}

#[test]
fn eval_tells_what_is_missing_or_does_not_fit() {
    let evaluation = Evaluation::new();
    let images = golden_images("a");
    let question = Question {
        source: None,
        translated: &images,
        target: &images,
        options: &[],
    };
    let weights = evaluation.path("none.pth");
    let parts = ["none.pth", "missing", "6726825d"];
    evaluation
        .ask_with(&weights, &question)
        .refused_after_log_lines(&parts);
    let weights = evaluation.path("page.pth");
    std::fs::write(&weights, "<html>quota</html>").unwrap();
    let parts = ["page.pth", "web page"];
    evaluation
        .ask_with(&weights, &question)
        .refused_after_log_lines(&parts);
    let empty = evaluation.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let parts = ["empty", "no .jpg or .png"];
    let question = Question {
        translated: &empty,
        ..question
    };
    evaluation.ask(&question).refused_after_log_lines(&parts);
    let one = evaluation.path("one");
    std::fs::create_dir(&one).unwrap();
    std::fs::copy(images.join("im0.jpg"), one.join("im0.jpg")).unwrap();
    let question = Question {
        translated: &one,
        ..question
    };
    evaluation
        .ask(&question)
        .refused_after_log_lines(&["at least 2 pictures"]);
}

#[test]
fn every_bad_image_is_counted_and_named() {
    let evaluation = Evaluation::new();
    let source = evaluation.three_images("source");
    let translated = evaluation.three_images("translated");
    let whole = std::fs::read(translated.join("im0.jpg")).unwrap();
    std::fs::write(translated.join("im0.jpg"), &whole[..whole.len() / 2]).unwrap();
    std::fs::rename(translated.join("im1.jpg"), translated.join("other.jpg")).unwrap();
    std::fs::remove_file(translated.join("im2.jpg")).unwrap();
    image::DynamicImage::new_rgb16(300, 300)
        .save(translated.join("im2.png"))
        .unwrap();
    let question = Question {
        source: Some(&source),
        translated: &translated,
        target: &source,
        options: &[],
    };
    evaluation.ask(&question).refused_after_log_lines(&[
        "4 bad files",
        "im1.jpg has no translation",
        "im0.jpg: a truncated JPEG",
        "im2.png: a 16-bit PNG",
        "other.jpg has no source",
    ]);
}

#[test]
fn grey_alpha_and_long_images_are_evaluated_as_rgb() {
    let evaluation = Evaluation::new();
    let source = evaluation.three_images("source");
    let translated = evaluation.three_images("translated");
    // A grey image, one with alpha, and one that is not square: the same in both folders, so every
    // pair is equal.
    for folder in [&source, &translated] {
        image::DynamicImage::new_luma8(64, 64)
            .save(folder.join("grey.png"))
            .unwrap();
        image::DynamicImage::new_rgba8(64, 64)
            .save(folder.join("clear.png"))
            .unwrap();
        image::DynamicImage::new_rgb8(90, 40)
            .save(folder.join("long.png"))
            .unwrap();
    }
    let question = Question {
        source: Some(&source),
        translated: &translated,
        target: &source,
        options: &[],
    };
    let answer = evaluation.ask(&question).printed_json();
    assert_eq!(answer["pairs"], 6, "{answer}");
    assert_eq!(answer["metrics"]["l2"], 0.0, "{answer}");
    // The same grey image stretched: the pair differs in shape and stops the evaluation.
    image::DynamicImage::new_rgb8(64, 90)
        .save(translated.join("grey.png"))
        .unwrap();
    let parts = ["1 bad files", "differ in shape"];
    evaluation.ask(&question).refused_after_log_lines(&parts);
}

#[test]
fn statistics_of_another_dimension_are_refused() {
    let evaluation = Evaluation::new();
    let features = tch::Tensor::randn([20, 6], (tch::Kind::Float, tch::Device::Cpu));
    let statistics = egsde_metrics::frechet::Statistics::from_features(&features).unwrap();
    let target = evaluation.path("other.npz");
    std::fs::write(
        &target,
        egsde_metrics::fid_statistics::to_npz(&statistics).unwrap(),
    )
    .unwrap();
    let translated = golden_images("a");
    let question = Question {
        source: None,
        translated: &translated,
        target: &target,
        options: &[],
    };
    let parts = ["target statistics", "2048", "6"];
    evaluation.ask(&question).refused_after_log_lines(&parts);
}

#[test]
fn published_formats_convert_and_misfits_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (out, again) = (
        folder.path().join("w.safetensors"),
        folder.path().join("a.safetensors"),
    );
    let (out, again) = (out.to_str().unwrap(), again.to_str().unwrap());
    let checkpoints = checkout().join("crates/models/tests/checkpoints");
    let checkpoints = checkpoints.to_str().unwrap();
    egsde(&[
        "weights",
        "convert",
        &format!("{checkpoints}/legacy.pth"),
        out,
    ])
    .success();
    egsde(&["weights", "convert", out, again]).success();
    let parts = ["malicious.pt", "posix.system", "nothing was executed"];
    egsde(&[
        "weights",
        "convert",
        &format!("{checkpoints}/malicious.pt"),
        out,
    ])
    .refused_after_log_lines(&parts);
    egsde(&[
        "weights",
        "convert",
        &format!("{checkpoints}/truncated.pt"),
        out,
    ])
    .refused_after_log_lines(&["truncated"]);
    let network = "configs/networks/dse_2_classes_256.yaml";
    let text = egsde(&["weights", "check", out, "--network", network])
        .code(1)
        .error_text();
    assert_has(&text, &["missing", "unexpected conv.bias"]);
}
