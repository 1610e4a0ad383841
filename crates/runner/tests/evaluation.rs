//! `egsde eval` and `egsde weights` through the real binary, on the reference's own pictures.

mod common;

use common::{egsde, root};
use std::path::{Path, PathBuf};
use std::process::Output;

fn images(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/images")
        .join(name)
}

#[track_caller]
fn refused(args: &[&str], parts: &[&str]) {
    let output = egsde(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> = error.lines().filter(|l| l.starts_with("egsde:")).collect();
    assert_eq!((output.status.code(), said.len()), (Some(2), 1), "{error}");
    for part in parts {
        assert!(said[0].contains(part), "{part:?} not in {error}");
    }
}

/// Synthetic FID Inception weights of the golden cases (gain 1.6).
fn inception(folder: &Path) -> String {
    let path = folder.join("inception.safetensors").display().to_string();
    assert!(
        egsde(&[
            "weights",
            "synthesize",
            "--network",
            "networks/fid_inception.yaml",
            "--gain",
            "1.6",
            &path
        ])
        .status
        .success()
    );
    path
}

#[test]
fn eval_gives_the_reference_numbers_and_stops_at_bad_files() {
    let folder = tempfile::tempdir().unwrap();
    let inception = inception(folder.path());
    let (a, b) = (
        images("a").display().to_string(),
        images("b").display().to_string(),
    );
    let of = |translated: &str, more: &[&str]| {
        let base = [
            "eval",
            "--source",
            &a,
            "--translated",
            translated,
            "--target",
            &a,
            "--inception",
            &inception,
            "--json",
        ];
        egsde(&[&base[..], more].concat())
    };
    let json = |output: &Output| -> serde_json::Value {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    };
    // pair_metrics and frechet_singular of tests/golden/cases.json.
    let whole = json(&of(&b, &[]));
    let near = |value: &serde_json::Value, want: f64, tolerance: f64| {
        let got = value.as_f64().unwrap();
        assert!((got - want).abs() <= tolerance * want, "{got} for {want}");
    };
    near(&whole["metrics"]["l2"], 32.025266329447426, 1e-5);
    near(&whole["metrics"]["psnr"], 22.84298562457377, 1e-5);
    near(&whole["metrics"]["ssim"], 0.7841544051965078, 1e-5);
    near(&whole["metrics"]["fid"], 20207.600974172, 1e-3);

    let bad = folder.path().join("bad");
    std::fs::create_dir(&bad).unwrap();
    for entry in std::fs::read_dir(images("b")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, bad.join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(bad.join("im5.png"), b"").unwrap();
    let stopped = of(&bad.display().to_string(), &[]);
    let error = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert_eq!(stopped.status.code(), Some(2), "{error}");
    assert!(
        error.contains("im5.png") && error.contains("empty") && error.contains("--skip-bad"),
        "{error}"
    );
    let skipped = json(&of(&bad.display().to_string(), &["--skip-bad"]));
    assert_eq!(
        (
            skipped["pairs"].as_u64(),
            skipped["skipped"].as_array().unwrap().len()
        ),
        (Some(5), 1),
        "{skipped}"
    );
}

#[test]
fn eval_tells_what_is_missing_or_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let a = images("a").display().to_string();
    let plain = ["eval", "--translated", &a, "--target", &a];
    refused(
        &[&plain[..], &["--inception", &path("none.pth")]].concat(),
        &["none.pth", "missing", "6726825d"],
    );
    std::fs::write(path("page.pth"), "<html>quota</html>").unwrap();
    refused(
        &[&plain[..], &["--inception", &path("page.pth")]].concat(),
        &["page.pth", "web page"],
    );
    let weights = inception(folder.path());
    std::fs::create_dir(path("empty")).unwrap();
    refused(
        &[
            "eval",
            "--translated",
            &path("empty"),
            "--target",
            &a,
            "--inception",
            &weights,
        ],
        &["empty", "no .jpg or .png"],
    );
    std::fs::create_dir(path("one")).unwrap();
    std::fs::copy(
        images("a").join("im0.jpg"),
        folder.path().join("one/im0.jpg"),
    )
    .unwrap();
    refused(
        &[
            "eval",
            "--translated",
            &path("one"),
            "--target",
            &a,
            "--inception",
            &weights,
        ],
        &["at least 2 pictures"],
    );
}

/// A folder of three of the reference's pictures, for adding bad ones.
fn three(folder: &Path, name: &str) -> PathBuf {
    let to = folder.join(name);
    std::fs::create_dir(&to).unwrap();
    for i in 0..3 {
        std::fs::copy(
            images("a").join(format!("im{i}.jpg")),
            to.join(format!("im{i}.jpg")),
        )
        .unwrap();
    }
    to
}

#[test]
fn every_bad_picture_is_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let weights = inception(folder.path());
    let (source, translated) = (three(folder.path(), "s"), three(folder.path(), "t"));
    let of = |name: &str| translated.join(name);
    let whole = std::fs::read(of("im0.jpg")).unwrap();
    std::fs::write(of("im0.jpg"), &whole[..whole.len() / 2]).unwrap();
    std::fs::rename(of("im1.jpg"), of("other.jpg")).unwrap();
    std::fs::remove_file(of("im2.jpg")).unwrap();
    image::DynamicImage::new_rgb16(300, 300)
        .save(of("im2.png"))
        .unwrap();
    let paths = [&source, &translated].map(|p| p.display().to_string());
    let base = [
        "eval",
        "--source",
        &paths[0],
        "--translated",
        &paths[1],
        "--target",
        &paths[0],
        "--inception",
        &weights,
    ];
    let parts = [
        "4 bad files",
        "im1.jpg has no translation",
        "im0.jpg: a truncated JPEG",
        "im2.png: a 16-bit PNG",
        "other.jpg has no source",
    ];
    refused(&base, &parts);
}

#[test]
fn grey_alpha_and_long_pictures_are_evaluated_as_rgb() {
    let folder = tempfile::tempdir().unwrap();
    let weights = inception(folder.path());
    let (source, translated) = (three(folder.path(), "s"), three(folder.path(), "t"));
    // A grey picture, one with alpha, and one that is not square: the same in both folders, so every pair is equal.
    for to in [&source, &translated] {
        image::DynamicImage::new_luma8(64, 64)
            .save(to.join("grey.png"))
            .unwrap();
        image::DynamicImage::new_rgba8(64, 64)
            .save(to.join("clear.png"))
            .unwrap();
        image::DynamicImage::new_rgb8(90, 40)
            .save(to.join("long.png"))
            .unwrap();
    }
    let paths = [&source, &translated].map(|p| p.display().to_string());
    let output = egsde(&[
        "eval",
        "--source",
        &paths[0],
        "--translated",
        &paths[1],
        "--target",
        &paths[0],
        "--inception",
        &weights,
        "--json",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (answer["pairs"].as_u64(), answer["metrics"]["l2"].as_f64()),
        (Some(6), Some(0.0)),
        "{answer}"
    );
    // The same grey picture stretched: the pair differs in shape and stops the evaluation.
    image::DynamicImage::new_rgb8(64, 90)
        .save(translated.join("grey.png"))
        .unwrap();
    refused(
        &[
            "eval",
            "--source",
            &paths[0],
            "--translated",
            &paths[1],
            "--target",
            &paths[0],
            "--inception",
            &weights,
        ],
        &["1 bad files", "differ in shape"],
    );
}

#[test]
fn statistics_of_another_dimension_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weights = inception(folder.path());
    let x = tch::Tensor::randn([20, 6], (tch::Kind::Float, tch::Device::Cpu));
    let statistics = egsde_metrics::frechet::Statistics::of(&x).unwrap();
    let path = folder.path().join("other.npz");
    std::fs::write(
        &path,
        egsde_metrics::statistics_file::to_npz(&statistics).unwrap(),
    )
    .unwrap();
    let translated = images("a").display().to_string();
    let target = path.display().to_string();
    refused(
        &[
            "eval",
            "--translated",
            &translated,
            "--target",
            &target,
            "--inception",
            &weights,
        ],
        &["target statistics", "2048", "6"],
    );
}

#[test]
fn published_formats_convert_and_misfits_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("w.safetensors").display().to_string();
    let checkpoint = |name: &str| {
        root()
            .join("crates/models/tests/checkpoints")
            .join(name)
            .display()
            .to_string()
    };
    assert!(
        egsde(&["weights", "convert", &checkpoint("legacy.pth"), &out])
            .status
            .success()
    );
    assert!(
        egsde(&[
            "weights",
            "convert",
            &out,
            &folder
                .path()
                .join("again.safetensors")
                .display()
                .to_string()
        ])
        .status
        .success()
    );
    refused(
        &["weights", "convert", &checkpoint("malicious.pt"), &out],
        &["malicious.pt", "posix.system", "nothing was executed"],
    );
    refused(
        &["weights", "convert", &checkpoint("truncated.pt"), &out],
        &["truncated"],
    );
    let check = egsde(&[
        "weights",
        "check",
        &out,
        "--network",
        "networks/dse_2_classes_256.yaml",
    ]);
    let error = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(1), "{error}");
    assert!(
        error.contains("missing") && error.contains("unexpected conv.bias"),
        "{error}"
    );
}
