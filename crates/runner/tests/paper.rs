//! The paper-scale path through the real binary, at 64 px with weights by formula: manifests, pins, JPEG output, the
//! published protocols, external rows, and what a user sees when something is missing or wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TASK: &str = "name: toy\ntitle: \"Toy\"\nimage_size: 64\nprotocol: afhq\nsource: {domain: cat, published: {manifest: datasets/toy.yaml, entry: val/cat}}\nreference: {domain: dog, published: {manifest: datasets/toy.yaml, entry: val/dog}}\ndiffusion: {published: {manifest: checkpoints/manifest.yaml, entry: diffusion.pt}}\nextractor: {published: {manifest: checkpoints/manifest.yaml, entry: dse.pt}}\nfeatures: {published: {manifest: checkpoints/manifest.yaml, entry: inception.pth}}\ndistance: FID\n";
const DATA: &str = "name: toy\nabout: toy\nlicense: none\nfolder: data/toy\norigin: the shelf\nfolders:\n  - {path: val/cat, pictures: 3}\n  - {path: val/dog, pictures: 6}\n";
const CHECKPOINTS: &str = "name: c\nabout: c\nlicense: none\nfolder: checkpoints\norigin: the drawer\nfiles:\n  - {file: diffusion.pt, what: U-Net, network: networks/diffusion.yaml}\n  - {file: dse.pt, what: extractor, network: networks/dse.yaml}\n  - {file: inception.pth, what: FID Inception, network: networks/fid_inception.yaml}\n";
const DIFFUSION: &str = "kind: adm_unet\nimage_size: 64\nnum_channels: 32\nchannel_mult: [1, 2]\nnum_res_blocks: 1\nattention_resolutions: [32]\nnum_head_channels: 32\nlearn_sigma: true\nuse_scale_shift_norm: true\nresblock_updown: true\n";
const DSE: &str = "kind: dse\nimage_size: 64\nclassifier_width: 32\nclassifier_depth: 1\nchannel_mult: [1, 2]\nattention_resolutions: [32]\nnum_head_channels: 32\nnum_classes: 2\npool: attention\nuse_scale_shift_norm: true\nresblock_updown: true\n";
const EXPERIMENT: &str = "name: toy\ntitle: Toy\ntask: toy\nseeds: [1, 2]\npictures: 3\nformat: jpeg75\ngroup: 2\nmethods:\n  - {name: ILVR, method: ilvr, steps: 3, low_pass_factor: 8, range_t: 0}\n  - {name: EGSDE, method: egsde, start: 0.003, lambda_s: 500, lambda_i: 2, low_pass_factor: 8}\n  - {name: Source, method: source}\n";

struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images");
        let folder = tempfile::tempdir().unwrap();
        let project = Self { folder };
        let networks =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../networks/fid_inception.yaml");
        let texts = [
            ("tasks/toy.yaml", TASK),
            ("datasets/toy.yaml", DATA),
            ("checkpoints/manifest.yaml", CHECKPOINTS),
            ("networks/diffusion.yaml", DIFFUSION),
            ("networks/dse.yaml", DSE),
            (
                "networks/fid_inception.yaml",
                &std::fs::read_to_string(networks).unwrap(),
            ),
            ("e.yaml", EXPERIMENT),
        ];
        for (path, text) in texts {
            std::fs::create_dir_all(project.path(path).parent().unwrap()).unwrap();
            std::fs::write(project.path(path), text).unwrap();
        }
        for (part, from, count) in [("val/cat", "a", 3), ("val/dog", "c", 6)] {
            let to = project.path("data/toy").join(part);
            std::fs::create_dir_all(&to).unwrap();
            for name in (0..count).map(|i| format!("im{i}.jpg")) {
                std::fs::copy(golden.join(from).join(&name), to.join(&name)).unwrap();
            }
        }
        project
    }

    fn with_weights() -> Self {
        let project = Self::new();
        for (file, network, gain) in [
            ("diffusion.pt", "diffusion", "1"),
            ("dse.pt", "dse", "1"),
            ("inception.pth", "fid_inception", "1.6"),
        ] {
            let (network, file) = (
                format!("networks/{network}.yaml"),
                format!("checkpoints/{file}"),
            );
            project.good(&[
                "weights",
                "synthesize",
                "--network",
                &network,
                "--gain",
                gain,
                &file,
            ]);
        }
        project
    }

    fn path(&self, of: &str) -> PathBuf {
        self.folder.path().join(of)
    }

    fn egsde(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_egsde"))
            .current_dir(self.folder.path())
            .args(args)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn good(&self, args: &[&str]) -> String {
        let output = self.egsde(args);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit 2 and one error line that has all the parts.
    #[track_caller]
    fn refused(&self, args: &[&str], parts: &[&str]) {
        let output = self.egsde(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let said: Vec<&str> = text.lines().filter(|l| l.starts_with("egsde:")).collect();
        assert_eq!((output.status.code(), said.len()), (Some(2), 1), "{text}");
        parts
            .iter()
            .for_each(|p| assert!(said[0].contains(p), "{p:?} not in {text}"));
    }

    fn table(&self, more: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.good(&[&["table", "e.yaml", "--json"], more].concat())).unwrap()
    }
}

fn cell<'a>(table: &'a serde_json::Value, method: &str, metric: &str) -> &'a serde_json::Value {
    let row = table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["method"] == method)
        .unwrap();
    &row["metrics"][metric]
}

#[test]
fn from_published_files_to_the_table_and_back_through_eval() {
    let project = Project::with_weights();
    project.good(&["run", "e.yaml"]);
    let pins = std::fs::read_to_string(project.path("datasets/pins.yaml")).unwrap();
    for key in [
        "data/toy/val/cat",
        "checkpoints/diffusion.pt",
        "checkpoints/inception.pth",
    ] {
        assert!(pins.contains(key), "{pins}");
    }
    let table = project.table(&[]);
    // The sources at 64 px through JPEG are near the sources; the row that made them needs no seed.
    let (l2, n) = (
        cell(&table, "Source", "l2")["mean"].as_f64().unwrap(),
        cell(&table, "Source", "fid")["n"].as_u64(),
    );
    assert!(
        l2 > 1.0 && l2 < cell(&table, "ILVR", "l2")["mean"].as_f64().unwrap() && n == Some(1),
        "{table}"
    );
    assert_eq!(cell(&table, "EGSDE", "fid")["n"].as_u64(), Some(2));
    assert!(
        project
            .good(&["table", "e.yaml"])
            .contains("JPEG of quality 75")
    );

    // The same pictures through `egsde eval` give the same numbers.
    let runs = project.path("runs/toy");
    let job = std::fs::read_dir(&runs)
        .unwrap()
        .flatten()
        .find(|e| e.file_name().to_string_lossy().starts_with("source-"))
        .unwrap()
        .path();
    let images = job.join("images").display().to_string();
    let eval = [
        "eval",
        "--source",
        "data/toy/val/cat",
        "--translated",
        &images,
        "--target",
        "data/toy/val/dog",
    ];
    let eval = project.good(
        &[
            &eval[..],
            &["--inception", "checkpoints/inception.pth", "--json"],
        ]
        .concat(),
    );
    let eval: serde_json::Value = serde_json::from_str(&eval).unwrap();
    for metric in ["fid", "l2", "psnr", "ssim"] {
        let (a, b) = (
            eval["metrics"][metric].as_f64().unwrap(),
            cell(&table, "Source", metric)["mean"].as_f64().unwrap(),
        );
        assert!((a - b).abs() <= 1e-9 * b.abs(), "{metric}: {a} {b}");
    }

    // As an external method, from the folder it lies in: the same row again.
    let external = EXPERIMENT.replace(
        "{name: Source, method: source}",
        &format!("{{name: CUT, method: external, images: {images}}}"),
    );
    std::fs::write(project.path("e.yaml"), external).unwrap();
    project.good(&["run", "e.yaml"]);
    let again = project.table(&[]);
    assert_eq!(
        cell(&again, "CUT", "fid")["mean"],
        cell(&table, "Source", "fid")["mean"]
    );
    std::fs::remove_file(job.join("images/im1.jpg")).unwrap();
    project.refused(
        &["run", "e.yaml"],
        &[
            "row \"CUT\"",
            "1 of 3 sources have no readable 64 x 64 translation",
            "first im1",
        ],
    );
}

#[test]
fn plan_and_run_say_what_is_missing_and_from_where() {
    let project = Project::new();
    std::fs::remove_dir_all(project.path("data/toy/val/dog")).unwrap();
    let plan = project.good(&["plan", "e.yaml"]);
    assert!(
        plan.contains("missing: ")
            && plan.contains("diffusion.pt (U-Net")
            && plan.contains("the drawer"),
        "{plan}"
    );
    assert!(
        plan.contains("val/dog") && plan.contains("the shelf") && plan.contains("3 + 6"),
        "{plan}"
    );
    project.refused(&["run", "e.yaml"], &["missing:", "the drawer"]);
    std::fs::remove_file(project.path("data/toy/val/cat/im0.jpg")).unwrap();
    project.refused(
        &["run", "e.yaml"],
        &["val/cat holds 2 pictures, expected 3"],
    );
}

#[test]
fn pictures_and_weights_that_cannot_be_used_are_named() {
    let project = Project::with_weights();
    let picture = project.path("data/toy/val/cat/im1.jpg");
    let jpeg = std::fs::read(&picture).unwrap();
    let wide = image::RgbImage::from_pixel(90, 60, image::Rgb([9, 8, 7]));
    std::fs::remove_file(&picture).unwrap();
    wide.save(project.path("data/toy/val/cat/im1.png")).unwrap();
    project.refused(
        &["run", "e.yaml"],
        &["im1.png is not square (96 x 64 once resized)"],
    );
    std::fs::remove_file(project.path("data/toy/val/cat/im1.png")).unwrap();
    // What was pinned at first sight is held from then on.
    std::fs::write(&picture, &jpeg[..jpeg.len() / 2]).unwrap();
    project.refused(
        &["run", "e.yaml"],
        &["val/cat: SHA-256 is", "datasets/pins.yaml"],
    );
    std::fs::remove_file(project.path("datasets/pins.yaml")).unwrap();
    project.refused(&["run", "e.yaml"], &["im1.jpg", "truncated JPEG"]);
    std::fs::write(&picture, &jpeg).unwrap();
    std::fs::remove_file(project.path("datasets/pins.yaml")).unwrap();
    project.good(&[
        "weights",
        "synthesize",
        "--network",
        "networks/dse.yaml",
        "--gain",
        "inf",
        "checkpoints/dse.pt",
    ]);
    project.refused(&["run", "e.yaml"], &["dse.pt", "NaN or infinity"]);
    project.good(&[
        "weights",
        "synthesize",
        "--network",
        "networks/diffusion.yaml",
        "checkpoints/dse.pt",
    ]);
    std::fs::remove_file(project.path("datasets/pins.yaml")).unwrap();
    project.refused(
        &["run", "e.yaml"],
        &["dse.pt", "do not fit the network", "missing"],
    );
}

#[test]
fn data_check_pins_and_notices() {
    let project = Project::new();
    for set in ["afhq", "celeba_hq"] {
        std::fs::write(project.path(&format!("datasets/{set}.yaml")), DATA).unwrap();
    }
    let seen = project.good(&["data", "check", "afhq"]);
    assert!(
        seen.contains("there, not pinned: data/toy/val/cat"),
        "{seen}"
    );
    assert!(
        project
            .good(&["data", "check", "afhq", "--pin"])
            .contains("pinned: data/toy/val/dog")
    );
    assert!(
        project
            .good(&["data", "check", "afhq"])
            .contains("ok: data/toy/val/cat")
    );
    std::fs::write(project.path("data/toy/val/cat/im0.jpg"), "other").unwrap();
    let changed = project.egsde(&["data", "check", "afhq"]);
    assert_eq!(changed.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&changed.stdout).contains("wrong: "),
        "{changed:?}"
    );
    project.refused(
        &["data", "check", "afhk"],
        &["no data set \"afhk\"", "celeba_hq"],
    );
}
