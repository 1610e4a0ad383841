//! `egsde eval` through the real binary on folders as people have them: other formats, leftovers,
//! names, statistics on either side, files that cannot be read or written.

mod common;

use common::evaluation::{Evaluation, Question, golden_images};
use common::{Assert, AssertText, assert_has, copy_folder, egsde_in};
use egsde_data::image_file::{self, Rgb, encode_jpeg75};
use egsde_metrics::fid_statistics;
use serde_json::Value;
use std::path::Path;
use tch::Tensor;

/// A green WebP of 8 x 8 pixels.
const WEBP: &[u8] = b"RIFF\x1e\x00\x00\x00WEBPVP8L\x11\x00\x00\x00/\x07\xc0\x01\x00\
    \x07P\xe4*\xd4\xa3\xff\x81\x88\xe8\x7f\x00\x00";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A number of an answer.
#[track_caller]
fn number(answer: &Value, key: &str) -> f64 {
    let value = answer["metrics"][key].as_f64();
    value.unwrap_or_else(|| panic!("no {key} in {answer}"))
}

/// The largest magnitude in a tensor.
fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

/// Texts of a list of an answer.
fn texts<'a>(answer: &'a Value, key: &str) -> Vec<&'a str> {
    let list = answer[key].as_array().unwrap();
    list.iter().map(|text| text.as_str().unwrap()).collect()
}

fn ppm(image: &Rgb) -> Vec<u8> {
    let mut bytes = format!("P6 {} {} 255\n", image.width, image.height).into_bytes();
    bytes.extend(&image.pixels);
    bytes
}

/// A 24-bit BMP of an image whose rows need no padding.
fn bmp(image: &Rgb) -> Vec<u8> {
    assert_eq!(image.width % 4, 0);
    let mut bytes = b"BM".to_vec();
    for field in [0, 0, 54, 40, image.width as u32, image.height as u32] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    for row in image.pixels.chunks_exact(image.width * 3).rev() {
        bytes.extend(row.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]));
    }
    bytes
}

/// A JPEG with an EXIF thumbnail, which has an end marker of its own.
fn with_thumbnail(jpeg: &[u8]) -> Vec<u8> {
    let thumbnail = Rgb {
        width: 16,
        height: 16,
        pixels: vec![90; 16 * 16 * 3],
    };
    let mut exif = b"Exif\0\0".to_vec();
    exif.extend(encode_jpeg75(&thumbnail).unwrap());
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1];
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&jpeg[2..]);
    bytes
}

#[test]
fn folders_and_statistics_stand_on_either_side() {
    let evaluation = Evaluation::new();
    let [a, b] = ["a", "b"].map(golden_images);
    let [a, b] = [text(&a), text(&b)];
    let [own, target] = ["own.npz", "target.npz"].map(|name| evaluation.path(name));
    let by_option = evaluation.eval(&[
        "--json",
        "--translated",
        a,
        "--target",
        b,
        "--save-statistics",
        text(&target),
    ]);
    let by_option = by_option.printed_json();
    let by_place = evaluation.eval(&["--json", a, b]).printed_json();
    assert_eq!(by_place, by_option);
    let mixed = evaluation
        .eval(&["--json", "--target", b, a])
        .printed_json();
    assert_eq!(mixed, by_option);
    let made = evaluation.eval(&["--save-stats", a, text(&own)]).printed();
    assert_has(&made, &["own.npz", "statistics of 6 pictures"]);
    // Either option writes the same statistics.
    let again = evaluation.path("again.npz");
    evaluation
        .eval(&["--save-stats", b, text(&again)])
        .success();
    let [saved, again] = [&target, &again].map(|file| fid_statistics::read(file, 2048).unwrap());
    let difference = largest(&(&saved.sigma - &again.sigma));
    assert!(difference <= 1e-9 * largest(&saved.sigma), "{difference}");

    let fid = number(&by_option, "fid");
    for sides in [
        [a, text(&target)],
        [text(&own), b],
        [text(&own), text(&target)],
    ] {
        let answer = evaluation
            .eval(&[["--json"].as_slice(), &sides].concat())
            .printed_json();
        let got = number(&answer, "fid");
        assert!(
            (got - fid).abs() < 1e-6 * fid,
            "{got} for {fid} of {sides:?}"
        );
        assert_has(
            answer["not_computed"]["kid"].as_str().unwrap(),
            &["statistics"],
        );
        assert_eq!(
            answer["translated"].is_null(),
            sides[0].ends_with(".npz"),
            "{answer}"
        );
        assert_eq!(
            answer["target"].is_null(),
            sides[1].ends_with(".npz"),
            "{answer}"
        );
    }
    // Statistics need no network.
    let arguments = ["eval", "--inception", "none.pth", text(&own), text(&own)];
    let printed = common::egsde(&arguments).printed();
    assert_has(
        &printed,
        &["fid            0.000000", "statistics translated"],
    );
    evaluation
        .eval(&["--source", a, text(&own), b])
        .refused(&["own.npz holds statistics", "--source"]);
}

#[test]
fn a_folder_is_at_no_distance_from_itself() {
    let evaluation = Evaluation::new();
    let (images, file) = (golden_images("a"), evaluation.path("a.npz"));
    let arguments = [
        "--json",
        text(&images),
        text(&images),
        "--save-statistics",
        text(&file),
    ];
    let answer = evaluation.eval(&arguments).printed_json();
    let trace = fid_statistics::read(&file, 2048)
        .unwrap()
        .sigma
        .trace()
        .double_value(&[]);
    let fid = number(&answer, "fid");
    assert!((0.0..=1e-9 * trace).contains(&fid), "{fid} beside {trace}");
}

#[test]
fn what_eval_is_not_asked_right_is_told_at_once() {
    let evaluation = Evaluation::new();
    let images = evaluation.three_images("images");
    let (at, file) = (text(&images), images.join("im0.jpg"));
    evaluation
        .eval(&[at])
        .refused(&["two folders", "egsde eval TRANSLATED TARGET"]);
    evaluation.eval(&[at, at, at]).refused(&["one more"]);
    evaluation
        .eval(&["--save-stats", at])
        .refused(&["--save-stats FOLDER FILE.npz"]);
    let near = evaluation.path("image");
    evaluation
        .eval(&[text(&near), at])
        .refused(&["is missing", "did you mean", "images?"]);
    evaluation
        .eval(&[at, text(&file)])
        .refused(&["im0.jpg is a JPEG", "the folder"]);
    let page = evaluation.path("page.npz");
    std::fs::write(&page, "<html>quota</html>").unwrap();
    evaluation
        .eval(&[at, text(&page)])
        .refused(&["page.npz", "a web page"]);
    // A file that is there is written over only where that is asked for.
    evaluation
        .eval(&[at, at, "--save-statistics", text(&page)])
        .refused(&["page.npz is there", "--force"]);
    evaluation
        .eval(&["--save-stats", at, text(&page)])
        .refused(&["page.npz is there"]);
    assert_eq!(std::fs::read(&page).unwrap(), b"<html>quota</html>");
    evaluation
        .eval(&["--force", "--save-stats", at, text(&page)])
        .success();
    let below_a_file = page.join("x.npz");
    evaluation
        .eval(&["--save-stats", at, text(&below_a_file)])
        .refused(&["--save-stats", "cannot write", "x.npz"]);
}

#[test]
fn images_of_all_formats_are_read_whatever_they_are_called() {
    let evaluation = Evaluation::new();
    let jpeg = golden_images("a");
    let mixed = evaluation.path("mixed");
    std::fs::create_dir(&mixed).unwrap();
    for (i, name) in [
        "im0.bmp", "im1.ppm", "im2.png", "im3.JPEG", "im4.jfif", "im5.pnm",
    ]
    .into_iter()
    .enumerate()
    {
        let source = jpeg.join(format!("im{i}.jpg"));
        let image = image_file::read(&source).unwrap();
        let bytes = match i {
            0 => bmp(&image),
            1 | 5 => ppm(&image),
            // The bytes tell the format, not the name.
            _ => std::fs::read(&source).unwrap(),
        };
        std::fs::write(mixed.join(name), bytes).unwrap();
    }
    let question = Question {
        source: Some(&jpeg),
        translated: &mixed,
        target: &jpeg,
        options: &[],
    };
    let answer = evaluation.ask(&question).printed_json();
    assert_eq!(
        (number(&answer, "l2"), &answer["pairs"]),
        (0.0, &Value::from(6))
    );
    assert!(number(&answer, "fid") < 1e-6, "{answer}");

    // Two files of one stem are two images where none is paired.
    std::fs::copy(jpeg.join("im1.jpg"), mixed.join("im0.jpg")).unwrap();
    std::fs::write(mixed.join("green.webp"), WEBP).unwrap();
    let alone = Question {
        source: None,
        ..question
    };
    assert_eq!(evaluation.ask(&alone).printed_json()["translated"], 8);
    let parts = ["im0.bmp and", "im0.jpg have the same stem"];
    evaluation.ask(&question).refused_after_log_lines(&parts);
}

#[test]
fn what_of_a_folder_takes_no_part_is_told() {
    let evaluation = Evaluation::new();
    let target = golden_images("a");
    let own = evaluation.three_images("own");
    let clean = evaluation.ask(&Question {
        source: None,
        translated: &own,
        target: &target,
        options: &[],
    });
    let clean = clean.printed_json();
    // macOS leaves such files; they are no images.
    std::fs::write(own.join("._im0.jpg"), "\0\u{5}\u{16}\u{7}").unwrap();
    std::fs::write(own.join(".DS_Store"), "x").unwrap();
    std::fs::write(own.join("list.txt"), "im0").unwrap();
    copy_folder(&golden_images("b"), &own.join("more"));
    let question = Question {
        source: None,
        translated: &own,
        target: &target,
        options: &[],
    };
    let answer = evaluation.ask(&question).printed_json();
    assert_eq!(answer["metrics"], clean["metrics"]);
    assert_has(
        texts(&answer, "notes")[0],
        &["6 pictures in folders inside it", "more (6)"],
    );
    // Images of other formats are no pictures to leave out in silence.
    std::fs::write(own.join("x.gif"), "GIF89a").unwrap();
    std::fs::write(own.join("y.avif"), "\0\0\0\x20ftypavif").unwrap();
    let parts = [
        "2 bad files",
        "x.gif: it is a GIF",
        "y.avif: it is an AVIF",
        "--skip-bad",
    ];
    evaluation.ask(&question).refused_after_log_lines(&parts);
    let question = Question {
        options: &["--skip-bad"],
        ..question
    };
    let answer = evaluation.ask(&question).printed_json();
    assert_eq!(answer["metrics"], clean["metrics"]);
    assert_eq!(texts(&answer, "skipped").len(), 2, "{answer}");
    let below = own.join("more").join("..").join("..").join("outer");
    copy_folder(&own, &below.join("inside"));
    evaluation.eval(&[text(&below), text(&target)]).refused(&[
        "no .jpg or .png",
        "inside (9)",
        "name one",
    ]);
}

#[test]
fn what_is_listed_as_skipped_counts_nowhere() {
    let evaluation = Evaluation::new();
    let target = golden_images("b");
    let [source, own] = ["source", "own"].map(|name| evaluation.path(name));
    copy_folder(&golden_images("a"), &source);
    copy_folder(&golden_images("b"), &own);
    // One with no source, one of another shape, one beside a source that cannot be read, one that
    // cannot be read itself; two stay.
    std::fs::copy(own.join("im0.png"), own.join("alone.png")).unwrap();
    std::fs::write(
        own.join("im1.png"),
        ppm(&Rgb {
            width: 30,
            height: 20,
            pixels: vec![8; 30 * 20 * 3],
        }),
    )
    .unwrap();
    let cut = std::fs::read(source.join("im2.jpg")).unwrap();
    std::fs::write(source.join("im2.jpg"), &cut[..cut.len() / 2]).unwrap();
    std::fs::write(own.join("im3.png"), b"").unwrap();
    std::fs::remove_file(own.join("im4.png")).unwrap();
    let skipped = evaluation.ask(&Question {
        source: Some(&source),
        translated: &own,
        target: &target,
        options: &["--skip-bad"],
    });
    let skipped = skipped.printed_json();
    let listed = texts(&skipped, "skipped").join("\n");
    let parts = [
        "alone.png has no source",
        "im4.jpg has no translation",
        "im1.png differ in shape",
        "im2.jpg: a truncated JPEG",
        "im2.png: left out with its source",
        "im3.png: the file is empty",
    ];
    assert_has(&listed, &parts);
    for name in ["alone.png", "im1.png", "im2.png", "im3.png"] {
        std::fs::remove_file(own.join(name)).unwrap();
    }
    for name in ["im1.jpg", "im2.jpg", "im3.jpg", "im4.jpg"] {
        std::fs::remove_file(source.join(name)).unwrap();
    }
    let removed = evaluation.ask(&Question {
        source: Some(&source),
        translated: &own,
        target: &target,
        options: &[],
    });
    let removed = removed.printed_json();
    for key in ["metrics", "pairs", "translated", "not_computed"] {
        assert_eq!(skipped[key], removed[key], "{key}");
    }
    assert_eq!(
        (&skipped["pairs"], &skipped["translated"]),
        (&2.into(), &2.into())
    );
    assert_has(
        removed["not_computed"]["kid"].as_str().unwrap(),
        &["at least 4"],
    );
}

#[test]
fn a_truncated_jpeg_is_refused_although_its_thumbnail_is_whole() {
    let evaluation = Evaluation::new();
    let (source, own) = (
        evaluation.three_images("source"),
        evaluation.three_images("own"),
    );
    for folder in [&source, &own] {
        let path = folder.join("im0.jpg");
        let whole = with_thumbnail(&std::fs::read(&path).unwrap());
        std::fs::write(&path, whole).unwrap();
    }
    let question = Question {
        source: Some(&source),
        translated: &own,
        target: &source,
        options: &[],
    };
    assert_eq!(number(&evaluation.ask(&question).printed_json(), "l2"), 0.0);
    let whole = std::fs::read(own.join("im0.jpg")).unwrap();
    std::fs::write(own.join("im0.jpg"), &whole[..whole.len() * 6 / 10]).unwrap();
    let parts = ["1 bad files", "im0.jpg: a truncated JPEG"];
    evaluation.ask(&question).refused_after_log_lines(&parts);
}

#[test]
fn names_that_differ_in_composition_alone_are_a_pair() {
    let evaluation = Evaluation::new();
    let (source, own) = (
        evaluation.three_images("source"),
        evaluation.three_images("own"),
    );
    std::fs::rename(source.join("im0.jpg"), source.join("caf\u{e9}.jpg")).unwrap();
    std::fs::rename(own.join("im0.jpg"), own.join("cafe\u{301}.jpg")).unwrap();
    let question = Question {
        source: Some(&source),
        translated: &own,
        target: &source,
        options: &[],
    };
    assert_eq!(evaluation.ask(&question).printed_json()["pairs"], 3);
    std::fs::copy(own.join("im1.jpg"), own.join("caf\u{e9}.jpg")).unwrap();
    let parts = ["cafe\\u{301}.jpg and caf\\u{e9}.jpg", "once composed"];
    evaluation.ask(&question).refused_after_log_lines(&parts);
}

#[test]
fn numbers_are_printed_where_features_cannot_be_kept() {
    let evaluation = Evaluation::new();
    let images = golden_images("a");
    // The folder of kept features would lie in a file.
    std::fs::write(evaluation.path("runs"), "x").unwrap();
    let mut command = egsde_in(evaluation.folder.path());
    command.args(["eval", "--inception", text(&evaluation.inception)]);
    let end: Assert = common::OutputAssertExt::assert(command.args([text(&images); 2]));
    let log = end.error_text();
    assert_has(&end.printed(), &["fid", "6 translated, 6 target"]);
    assert_has(&log, &["warning: ", "not kept", "cannot write"]);
}

#[test]
fn a_single_translation_has_the_metrics_per_image() {
    let evaluation = Evaluation::new();
    let (source, target) = (evaluation.path("source"), golden_images("b"));
    std::fs::create_dir(&source).unwrap();
    std::fs::copy(golden_images("a").join("im0.jpg"), source.join("im0.jpg")).unwrap();
    let question = Question {
        source: Some(&source),
        translated: &source,
        target: &target,
        options: &[],
    };
    let answer = evaluation.ask(&question).printed_json();
    assert_eq!(
        (number(&answer, "l2"), &answer["pairs"]),
        (0.0, &Value::from(1))
    );
    assert_has(
        answer["not_computed"]["fid"].as_str().unwrap(),
        &["at least 2 pictures"],
    );
    // Without sources nothing could be computed, which is known before the network is opened.
    let none = evaluation.path("none.pth");
    let alone = Question {
        source: None,
        ..question
    };
    let parts = ["holds 1 picture", "at least 2 pictures"];
    evaluation.ask_with(&none, &alone).refused(&parts);
}
