//! The paper-scale path through the real binary, at 64 px with weights by formula: manifests, pins,
//! JPEG output, the published protocols, external rows, and what a user sees when something is
//! missing or wrong. The project is that of `tests/fixtures/toy_project`.

mod common;

use common::project::TestProject;
use common::{AssertText, assert_has, checkout, table_mean, table_row};
use egsde_data::resize::{Filter, resize};
use egsde_models::{Loaded, NetworkConfig, ResnetGenerator, StarganV2};
use egsde_runner::inputs::task::Task;
use egsde_sampler::noise::{ImageNoise, latents};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

const INCEPTION: &str = "configs/networks/fid_inception.yaml";
const PINS: &str = "datasets/pins.yaml";

/// A folder of the toy data set and the golden cases' images that lie in it.
struct ToyFolder {
    path: &'static str,
    golden: &'static str,
    images: usize,
}

const TOY_FOLDERS: [ToyFolder; 2] = [
    ToyFolder {
        path: "data/toy/val/cat",
        golden: "a",
        images: 3,
    },
    ToyFolder {
        path: "data/toy/val/dog",
        golden: "c",
        images: 6,
    },
];

/// The toy project with its images and no weights.
fn toy_project() -> TestProject {
    let project = TestProject::fixture("toy_project");
    project.write(
        INCEPTION,
        std::fs::read(checkout().join(INCEPTION)).unwrap(),
    );
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images");
    for ToyFolder {
        path,
        golden: folder,
        images,
    } in TOY_FOLDERS
    {
        for name in (0..images).map(|i| format!("im{i}.jpg")) {
            let image = std::fs::read(golden.join(folder).join(&name)).unwrap();
            project.write(&format!("{path}/{name}"), image);
        }
    }
    project
}

/// Writes weights of the diffusion network and the extractor.
fn synthesize_networks(project: &TestProject) {
    for network in ["diffusion", "dse"] {
        let config = format!("configs/networks/{network}.yaml");
        project.synthesize(&config, "1", &format!("checkpoints/{network}.pt"));
    }
}

/// The toy project with its images and weights.
fn toy_project_with_weights() -> TestProject {
    let project = toy_project();
    synthesize_networks(&project);
    project.synthesize(INCEPTION, "1.6", "checkpoints/inception.pth");
    project
}

/// The run of the toy project must be refused.
#[track_caller]
fn assert_run_refused(project: &TestProject, parts: &[&str]) {
    project.run().refused_after_log_lines(parts);
}

/// The folder of the sources' own job.
fn source_job(project: &TestProject) -> PathBuf {
    let jobs = std::fs::read_dir(project.path("runs/toy"))
        .unwrap()
        .flatten();
    let mut jobs = jobs.filter(|job| job.file_name().to_string_lossy().starts_with("source-"));
    jobs.next().expect("the sources have a job").path()
}

/// What `egsde eval` says about a folder of translations of the toy project.
fn evaluate(project: &TestProject, translated: &Path) -> Value {
    let arguments = [
        "eval",
        "--json",
        "--inception",
        "checkpoints/inception.pth",
        "--source",
        "data/toy/val/cat",
        "--target",
        "data/toy/val/dog",
        "--translated",
        translated.to_str().unwrap(),
    ];
    project.egsde(&arguments).printed_json()
}

/// Gives published weights another name: in their folder, their manifest, the task and the pins.
fn rename_weights(project: &TestProject, from: &str, to: &str) {
    let (old, new) = (format!("checkpoints/{from}"), format!("checkpoints/{to}"));
    std::fs::rename(project.path(&old), project.path(&new)).unwrap();
    project.replace("checkpoints/manifest.yaml", from, to);
    project.replace("configs/tasks/toy.yaml", from, to);
    project.replace(PINS, &old, &new);
}

#[test]
fn from_published_files_to_the_table_and_back_through_eval() {
    let project = toy_project_with_weights();
    project.run().success();
    let keys = [
        "data/toy/val/cat",
        "checkpoints/diffusion.pt",
        "checkpoints/inception.pth",
    ];
    assert_has(&project.read(PINS), &keys);
    let table = project.table();
    // The sources at 64 px through JPEG are near the sources.
    let l2 = table_mean(&table, "Source", "l2");
    assert!(l2 > 1.0 && l2 < table_mean(&table, "ILVR", "l2"), "{table}");
    // The row that made them needs no seed.
    assert_eq!(
        table_row(&table, "Source")["metrics"]["fid"]["n"],
        1,
        "{table}"
    );
    assert_eq!(
        table_row(&table, "EGSDE")["metrics"]["fid"]["n"],
        2,
        "{table}"
    );
    let markdown = project.egsde(&["table", "e.yaml"]).printed();
    assert_has(&markdown, &["JPEG of quality 75"]);

    // Published weights are known by their content, not by their name.
    rename_weights(&project, "diffusion.pt", "other.pt");
    let log = project.run().success().error_text();
    assert_has(&log, &["nothing to do, all 5 jobs are done"]);

    // The same images through `egsde eval` give the same numbers.
    let images = source_job(&project).join("images");
    let answer = evaluate(&project, &images);
    for metric in ["fid", "l2", "psnr", "ssim"] {
        let evaluated = answer["metrics"][metric].as_f64().unwrap();
        let run = table_mean(&table, "Source", metric);
        let difference = (evaluated - run).abs();
        assert!(
            difference <= 1e-9 * run.abs(),
            "{metric}: {evaluated} {run}"
        );
    }

    // As an external method, from the folder where they lie: the same row again.
    let external = format!(
        "{{name: CUT, method: external, images: {}}}",
        images.display()
    );
    project.replace("e.yaml", "{name: Source, method: source}", &external);
    project.run().success();
    let again = project.table();
    assert_eq!(
        table_mean(&again, "CUT", "fid"),
        table_mean(&table, "Source", "fid")
    );
    std::fs::remove_file(images.join("im1.jpg")).unwrap();
    let parts = [
        "row \"CUT\"",
        "1 of 3 sources have no readable 64 x 64 translation",
        "first im1",
    ];
    assert_run_refused(&project, &parts);
}

/// Gives the toy project's task and networks pictures of 256 px, the two upper levels without
/// attention.
fn enlarge(project: &TestProject) {
    project.replace(
        "configs/tasks/toy.yaml",
        "image_size: 64",
        "image_size: 256",
    );
    for network in ["diffusion", "dse"] {
        let file = format!("configs/networks/{network}.yaml");
        project.replace(&file, "image_size: 64", "image_size: 256");
        project.replace(&file, "channel_mult: [1, 2]", "channel_mult: [1, 1, 1, 2]");
    }
}

#[test]
fn own_photos_are_translated_at_256_px_once_the_checkpoints_are_there() {
    let project = toy_project();
    enlarge(&project);
    let photo = image::RgbImage::from_fn(420, 300, |x, y| {
        image::Rgb([(x / 2) as u8, (y / 2) as u8, (x % 97) as u8])
    });
    photo.save(project.path("photo.png")).unwrap();
    let translate = ["translate", "photo.png", "--task", "toy"];
    let parts = ["missing: ", "diffusion.pt (U-Net", "the drawer"];
    project.egsde(&translate).refused_after_log_lines(&parts);
    assert!(!project.path("translated").exists());
    synthesize_networks(&project);
    project.egsde(&translate).success();
    let translation = image::open(project.path("translated/photo.png")).unwrap();
    assert_eq!((translation.width(), translation.height()), (256, 256));
    let strip = image::open(project.path("translated/strips/photo.png")).unwrap();
    assert_eq!((strip.width(), strip.height()), (256 + 8 + 256, 256));
    // The checkpoints were pinned as `egsde run` pins them.
    assert_has(
        &project.read(PINS),
        &["checkpoints/diffusion.pt", "checkpoints/dse.pt"],
    );
}

#[test]
fn plan_and_run_say_what_is_missing_and_from_where() {
    let project = toy_project();
    std::fs::remove_dir_all(project.path("data/toy/val/dog")).unwrap();
    let plan = project.egsde(&["plan", "e.yaml"]).printed();
    assert_has(&plan, &["missing: ", "diffusion.pt (U-Net", "the drawer"]);
    assert_has(&plan, &["val/dog", "the shelf", "3 + 6"]);
    assert_run_refused(&project, &["missing:", "the drawer"]);
    project.remove("data/toy/val/cat/im0.jpg");
    assert_run_refused(&project, &["val/cat holds 2 pictures, expected 3"]);
}

#[test]
fn images_that_cannot_be_used_are_named() {
    let project = toy_project_with_weights();
    let jpeg = std::fs::read(project.path("data/toy/val/cat/im1.jpg")).unwrap();
    project.remove("data/toy/val/cat/im1.jpg");
    let wide = image::RgbImage::from_pixel(90, 60, image::Rgb([9, 8, 7]));
    wide.save(project.path("data/toy/val/cat/im1.png")).unwrap();
    assert_run_refused(&project, &["im1.png is not square (96 x 64 once resized)"]);
    project.remove("data/toy/val/cat/im1.png");
    // What was pinned at first sight is held from then on.
    project.write("data/toy/val/cat/im1.jpg", &jpeg[..jpeg.len() / 2]);
    assert_run_refused(&project, &["val/cat: SHA-256 is", PINS]);
    project.remove(PINS);
    assert_run_refused(&project, &["im1.jpg", "truncated JPEG"]);
}

#[test]
fn weights_that_cannot_be_used_are_named() {
    let project = toy_project_with_weights();
    project.synthesize("configs/networks/dse.yaml", "inf", "checkpoints/dse.pt");
    assert_run_refused(&project, &["dse.pt", "NaN or infinity"]);
    project.synthesize("configs/networks/diffusion.yaml", "1", "checkpoints/dse.pt");
    assert_run_refused(&project, &["dse.pt: SHA-256 is", PINS]);
    project.remove(PINS);
    assert_run_refused(&project, &["dse.pt", "do not fit the network", "missing"]);
}

#[test]
fn a_source_under_whose_name_nothing_can_be_stored_is_refused_first() {
    let project = toy_project_with_weights();
    let cats = project.path("data/toy/val/cat");
    std::fs::rename(cats.join("im1.jpg"), cats.join("im\n1.jpg")).unwrap();
    let parts = ["\"im\\n1\" has a line end", "rename it"];
    project.egsde(&["plan", "e.yaml"]).refused(&parts);
    for _ in 0..2 {
        assert_run_refused(&project, &parts);
    }
    assert!(!project.path("runs").exists());
}

#[test]
fn results_are_found_without_the_pins_that_stayed_behind() {
    let project = toy_project_with_weights();
    project.run().success();
    let (table, pins) = (project.table(), project.read(PINS));
    project.remove(PINS);
    assert_eq!(project.table(), table);
    assert!(!project.path(PINS).exists(), "a table writes no pins");
    assert_has(
        &project.egsde(&["plan", "e.yaml"]).printed(),
        &["5 of 5 jobs done"],
    );
    // Where the data stayed behind as well, the reason is told.
    std::fs::remove_dir_all(project.path("data")).unwrap();
    let text = project.egsde(&["table", "e.yaml"]).code(1).error_text();
    assert_has(
        &text,
        &["5 of 5 jobs have no result", PINS, "data/toy/val/cat"],
    );
    project.write(PINS, pins);
    assert_eq!(project.table(), table);
}

#[test]
fn data_check_pins_and_notices() {
    let project = toy_project();
    for set in ["afhq", "celeba_hq"] {
        project.write(
            &format!("datasets/{set}.yaml"),
            project.read("datasets/toy.yaml"),
        );
    }
    let seen = project.egsde(&["data", "check", "afhq"]).printed();
    assert_has(&seen, &["there, not pinned: data/toy/val/cat"]);
    let pinned = project.egsde(&["data", "check", "afhq", "--pin"]).printed();
    assert_has(&pinned, &["pinned: data/toy/val/dog"]);
    let held = project.egsde(&["data", "check", "afhq"]).printed();
    assert_has(&held, &["ok: data/toy/val/cat"]);
    project.write("data/toy/val/cat/im0.jpg", "other");
    let changed = project
        .egsde(&["data", "check", "afhq"])
        .code(1)
        .output_text();
    assert_has(&changed, &["wrong: "]);
    let parts = ["no data set \"afhk\"", "celeba_hq"];
    project
        .egsde(&["data", "check", "afhk"])
        .refused_after_log_lines(&parts);
}

#[test]
fn published_folders_are_hashed_once_per_process() {
    let toy = toy_project();
    let project = toy.open();
    Task::read(&project, "toy").unwrap().pin(&project).unwrap();
    let inputs = Task::read(&project, "toy")
        .unwrap()
        .inputs(&project)
        .unwrap();
    let cats = inputs
        .iter()
        .find(|input| input.key == "data/toy/val/cat")
        .unwrap();
    toy.flip_bit("data/toy/val/cat/im0.jpg", 1);
    cats.verify_once(&project)
        .expect("the folder is not hashed a second time");
    let error = cats.verify_once(&toy.open()).unwrap_err().to_string();
    assert_has(&error, &["val/cat: SHA-256 is", PINS]);
}

/// Generators at 64 px as the toy project's manifest publishes them: file, configuration, network.
const GENERATORS: [[&str; 3]; 2] = [
    [
        "cut_pretrained/latest_net_G.pth",
        "configs/networks/cut.yaml",
        "{kind: resnet_generator, input_nc: 3, output_nc: 3, ngf: 4, n_blocks: 2, \
         norm: instance, antialias_down: true, antialias_up: true}",
    ],
    [
        "animals/100000_nets_ema.ckpt",
        "configs/networks/stargan.yaml",
        "{kind: stargan_v2, img_size: 64, style_dim: 8, latent_dim: 4, max_conv_dim: 16, \
         w_hpf: 0, domains: [cat, dog]}",
    ],
];

/// Adds rows of the generators to the toy project, whose weights are not there yet.
fn add_generators(project: &TestProject) {
    let mut manifest = project.read("checkpoints/manifest.yaml");
    for [file, config, network] in GENERATORS {
        project.write(config, network);
        manifest += &format!("  - {{file: {file}, what: generator, network: {config}}}\n");
    }
    project.write("checkpoints/manifest.yaml", manifest);
    let [[cut, ..], [stargan, ..]] = GENERATORS;
    let published = "published: {manifest: checkpoints/manifest.yaml, entry:";
    let generators = format!(
        "generators:\n  cut: {{{published} {cut}}}}}\n  stargan_v2: {{{published} {stargan}}}}}\n"
    );
    let task = project.read("configs/tasks/toy.yaml");
    project.write("configs/tasks/toy.yaml", task + &generators);
    let experiment = project.read("e.yaml");
    let (head, _) = experiment.split_once("methods:").unwrap();
    let rows = "methods:
  - {name: CUT, method: cut}
  - {name: StarGAN v2 (latent), method: stargan_v2, guidance: latent}
  - {name: StarGAN v2 (reference), method: stargan_v2, guidance: reference}
";
    project.write("e.yaml", head.to_string() + rows);
}

/// The sources at 64 px as Pillow resizes them with a filter, in [-1, 1].
fn toy_sources(project: &TestProject, filter: Filter) -> Tensor {
    let mut images = Vec::new();
    for i in 0..3 {
        let path = project.path(&format!("data/toy/val/cat/im{i}.jpg"));
        let image = egsde_data::image_file::read(&path).unwrap();
        images.push(resize(&image, 64, 64, filter).unwrap().tensor());
    }
    Tensor::cat(&images, 0) * 2.0 - 1.0
}

/// The translations of the finished job whose folder begins so, `[3, 3, 64, 64]` in whole numbers.
fn toy_translations(project: &TestProject, begins: &str) -> Tensor {
    let jobs = std::fs::read_dir(project.path("runs/toy"))
        .unwrap()
        .flatten();
    let mut jobs = jobs.filter(|job| job.path().join("scores.json").is_file());
    let job = jobs.find(|job| job.file_name().to_string_lossy().starts_with(begins));
    let images = job
        .expect("the row has a finished job")
        .path()
        .join("images");
    let mut translations = Vec::new();
    for i in 0..3 {
        let image = egsde_data::image_file::read(&images.join(format!("im{i}.png"))).unwrap();
        translations.push(image.tensor() * 255.0);
    }
    Tensor::cat(&translations, 0)
}

/// All pixels must be those wanted, but for one level in one of 1,000 (another batch rounds so).
#[track_caller]
fn assert_levels(got: &Tensor, want: &Tensor) {
    let difference = (got - want).abs();
    assert!(difference.max().double_value(&[]) < 1.5, "{difference}");
    let others = difference.gt(0.5).mean(Kind::Double).double_value(&[]);
    assert!(others <= 1e-3, "{others}");
}

#[test]
fn generators_see_and_store_images_as_their_authors_networks_do() {
    let project = toy_project_with_weights();
    add_generators(&project);
    let parts = [
        "configs/tasks/toy.yaml: generators.cut: missing: ",
        "latest_net_G.pth (generator, SHA-256 not published",
        "the drawer",
    ];
    assert_run_refused(&project, &parts);
    for [file, config, _] in GENERATORS {
        let file = format!("checkpoints/{file}");
        std::fs::create_dir_all(project.path(&file).parent().unwrap()).unwrap();
        project.synthesize(config, "1.5", &file);
    }
    // No row needs these.
    project.remove("checkpoints/diffusion.pt");
    project.remove("checkpoints/dse.pt");
    let log = project.run().success().error_text();
    assert_has(
        &log,
        &["checkpoints/cut_pretrained/latest_net_G.pth: SHA-256"],
    );
    assert_has(&project.read(PINS), &["animals/100000_nets_ema.ckpt"]);

    let [cut, stargan] = GENERATORS.map(|[file, config, _]| {
        let config: NetworkConfig = serde_yaml::from_str(&project.read(config)).unwrap();
        (project.path(&format!("checkpoints/{file}")), config)
    });
    let (cpu, kind) = (Device::Cpu, Kind::Float);
    let generator = Loaded::<ResnetGenerator>::open_as(&cut.0, &cut.1, cpu, kind).unwrap();
    let x0 = toy_sources(&project, Filter::Bicubic);
    let y = tch::no_grad(|| generator.translate(&x0));
    let want = ((y + 1.0) / 2.0 * 255.0).floor();
    assert_levels(&toy_translations(&project, "cut-s1"), &want);

    let networks = Loaded::<StarganV2>::open_as(&stargan.0, &stargan.1, cpu, kind).unwrap();
    let x0 = toy_sources(&project, Filter::Bilinear);
    let noise = ImageNoise {
        seed: 1,
        names: ["im0", "im1", "im2"].map(String::from).to_vec(),
        side: 64,
        device: cpu,
    };
    let style = networks.latent_style(&latents(&noise, 4).unwrap(), 1);
    let stored = |x0: &Tensor| {
        let y = tch::no_grad(|| networks.translate(x0, &style));
        (((y + 1.0) / 2.0).clamp(0.0, 1.0) * 255.0 + 0.5).floor()
    };
    let (got, want) = (
        toy_translations(&project, "stargan-v2--latent--s1"),
        stored(&x0),
    );
    assert_levels(&got, &want);
    // Pillow's other filter would be noticed.
    let bicubic = stored(&toy_sources(&project, Filter::Bicubic));
    let others = (bicubic - want).abs().gt(0.5).mean(Kind::Double);
    assert!(others.double_value(&[]) > 0.01, "{others}");
}

#[test]
fn a_reference_of_statistics_has_no_images_to_draw() {
    let project = toy_project_with_weights();
    add_generators(&project);
    for [file, config, _] in GENERATORS {
        let file = format!("checkpoints/{file}");
        std::fs::create_dir_all(project.path(&file).parent().unwrap()).unwrap();
        project.synthesize(config, "1.5", &file);
    }
    let manifest = project.read("datasets/toy.yaml");
    let files = "files:\n  - {file: dogs.npz, what: statistics}\n";
    project.write("datasets/toy.yaml", manifest + files);
    project.replace(
        "configs/tasks/toy.yaml",
        "entry: val/dog",
        "entry: dogs.npz",
    );
    let parts = [
        "row \"StarGAN v2 (reference)\"",
        "dogs.npz is no folder of pictures",
    ];
    project.egsde(&["plan", "e.yaml"]).refused(&parts);
}
