//! Rows of CUT, CycleGAN and StarGAN v2, whose generators have weights by formula.

use crate::common::images::{image_states, largest_difference, pixels};
use crate::common::project::TestProject;
use crate::common::{
    AssertText, RunFile, assert_has, assert_same_results, checkout, copy_folder, files_below,
    job_states, table_mean, table_row,
};
use egsde_data::files::sha256_file;
use egsde_data::image_set::ImageSet;
use egsde_models::{Loaded, ResnetGenerator, StarganV2};
use egsde_sampler::noise::{ImageNoise, Noise, Purpose};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use tch::{Device, Kind, Tensor};

const TASK: &str = "configs/tasks/gans.yaml";
const EXPERIMENT: &str = "e.yaml";
const DIFFUSION: &str = "checkpoints/embedded/dog_diffusion.safetensors";
const EXTRACTOR: &str = "checkpoints/embedded/cat2dog_dse.safetensors";
const PICTURES: usize = 5;

const ROWS: &str = r"name: gans
title: Gans
task: gans
seeds: [1, 2]
pictures: 5
batch_size: 3
methods:
  - {name: CUT, method: cut}
  - {name: CycleGAN, method: cyclegan}
  - {name: StarGAN v2 (latent), method: stargan_v2, guidance: latent}
  - {name: StarGAN v2 (reference), method: stargan_v2, guidance: reference}
";

/// A job of each row that no seed changes, and one per seed of the others.
const JOBS: usize = 2 + 2 * 2;

/// A generator as the task names it, and its network.
struct TestGenerator {
    method: &'static str,
    network: &'static str,
}

const GENERATORS: [TestGenerator; 3] = [
    TestGenerator {
        method: "cut",
        network: "{kind: resnet_generator, input_nc: 3, output_nc: 3, ngf: 4, n_blocks: 2, \
                  norm: instance, antialias_down: true, antialias_up: true}",
    },
    TestGenerator {
        method: "cyclegan",
        network: "{kind: resnet_generator, input_nc: 3, output_nc: 3, ngf: 4, n_blocks: 2, \
                  norm: instance, antialias_down: false, antialias_up: false}",
    },
    TestGenerator {
        method: "stargan_v2",
        network: "{kind: stargan_v2, img_size: 32, style_dim: 8, latent_dim: 4, max_conv_dim: 16, \
                  w_hpf: 0, domains: [cat, dog]}",
    },
];

fn weights(method: &str) -> String {
    format!("checkpoints/own/{method}.safetensors")
}

/// A project with weights by formula for every generator. They are made once: two files of the same
/// weights need not be the same bytes.
static WEIGHTS: LazyLock<TestProject> = LazyLock::new(|| {
    let project = TestProject::embedded("");
    std::fs::create_dir_all(project.path("checkpoints/own")).unwrap();
    for TestGenerator { method, network } in GENERATORS {
        let config = format!("configs/networks/{method}.yaml");
        project.write(&config, network);
        let mut arguments = vec!["weights", "synthesize", "--gain", "1.5", "--network"];
        let file = weights(method);
        arguments.extend([config.as_str(), &file]);
        project.egsde(&arguments).success();
    }
    project
});

/// The embedded project with a task of cats and dogs that has all generators.
fn gan_project(experiment: &str) -> TestProject {
    let project = TestProject::embedded(experiment);
    copy_folder(
        &WEIGHTS.path("checkpoints/own"),
        &project.path("checkpoints/own"),
    );
    let mut task: serde_yaml::Mapping =
        serde_yaml::from_str(&project.read("configs/tasks/cat2dog-32.yaml")).unwrap();
    task.remove("generators");
    let mut text = serde_yaml::to_string(&task).unwrap() + "generators:\n";
    for TestGenerator { method, .. } in GENERATORS {
        let file = weights(method);
        let sha256 = sha256_file(&project.path(&file)).unwrap();
        text += &format!("  {method}: {{file: {file}, sha256: {sha256}}}\n");
    }
    project.write(TASK, text);
    project
}

/// All rows, run without a diffusion network and an extractor.
static FINISHED: LazyLock<TestProject> = LazyLock::new(|| {
    let project = gan_project(ROWS);
    for file in [DIFFUSION, EXTRACTOR] {
        std::fs::rename(project.path(file), project.path(&format!("{file}.away"))).unwrap();
    }
    let plan = project.egsde(&["plan", EXPERIMENT]).printed();
    assert!(!plan.contains("missing"), "{plan}");
    project.run().success();
    project
});

fn images_in(project: &TestProject, runs: &str) -> Vec<RunFile> {
    let mut images = files_below(&project.path(runs), ".png");
    images.retain(|image| image.name.contains("/images/"));
    images
}

/// The images of the jobs whose folder begins so, in the order of their names.
fn images_of(project: &TestProject, begins: &str) -> Vec<RunFile> {
    let mut images = images_in(project, "runs/gans");
    images.retain(|image| image.name.starts_with(begins));
    images
}

#[test]
fn a_table_of_generators_needs_no_diffusion_network_and_counts_one_evaluation_each() {
    let table = FINISHED.table();
    for (row, seeds) in [
        ("CUT", 1),
        ("CycleGAN", 1),
        ("StarGAN v2 (latent)", 2),
        ("StarGAN v2 (reference)", 2),
    ] {
        assert_eq!(
            table_row(&table, row)["metrics"]["fid"]["n"],
            seeds,
            "{row}"
        );
        assert_eq!(table_mean(&table, row, "evaluations"), 1.0, "{row}");
        assert!(table_mean(&table, row, "l2") > 0.0, "{row}");
    }
    assert_eq!(images_in(&FINISHED, "runs").len(), JOBS * PICTURES);
    let plan = FINISHED.egsde(&["plan", EXPERIMENT]).printed();
    assert_has(
        &plan,
        &["1 of the generator", "6 of 6 jobs done, 0 evaluations left"],
    );
    let log = FINISHED.run().success().error_text();
    assert_has(&log, &["nothing to do, all 6 jobs are done"]);
}

#[test]
fn images_do_not_depend_on_save_every_order_or_interruption() {
    let project = gan_project(ROWS);
    // The other way round, and three images at first.
    let mut methods: Vec<&str> = ROWS.lines().skip(7).collect();
    methods.reverse();
    let head: Vec<&str> = ROWS.lines().take(7).collect();
    let reversed = format!("{}\n{}\n", head.join("\n"), methods.join("\n"));
    project.write(EXPERIMENT, &reversed);
    let preview = ["run", EXPERIMENT, "--preview", "3", "--save-every", "2"];
    project.egsde(&preview).success();
    let want = images_in(&FINISHED, "runs");
    assert_same_results(&images_in(&project, "runs"), &want, "in another order");
    // What was lost is made again.
    for name in ["cat-00001.png", "cat-00004.png", "scores.json"] {
        for file in files_below(&project.path("runs"), name) {
            std::fs::remove_file(project.path("runs").join(file.name)).unwrap();
        }
    }
    assert!(images_in(&project, "runs").len() < want.len());
    project.run().success();
    assert_same_results(&images_in(&project, "runs"), &want, "after a loss");
}

#[test]
fn another_batch_gives_the_same_images_to_a_rounding() {
    let project = gan_project(ROWS);
    project
        .egsde(&["run", EXPERIMENT, "--batch-size", "1"])
        .success();
    for row in [
        "cut-",
        "cyclegan-",
        "stargan-v2--latent--s1",
        "stargan-v2--reference--s2",
    ] {
        let (alone, together) = (images_of(&project, row), images_of(&FINISHED, row));
        assert_eq!((alone.len(), together.len()), (PICTURES, PICTURES), "{row}");
        let renamed = |images: Vec<RunFile>| -> Vec<RunFile> {
            let images = images.into_iter().enumerate();
            images
                .map(|(i, image)| RunFile {
                    name: i.to_string(),
                    ..image
                })
                .collect()
        };
        // A level that is truncated or rounded at its edge.
        let difference = largest_difference(&renamed(alone), &renamed(together));
        assert!(difference <= 1, "{row}: {difference}");
    }
}

/// The sources in [-1, 1].
fn sources() -> (Vec<String>, Tensor) {
    let sheet = std::fs::read(FINISHED.path("datasets/embedded/test_cats.png")).unwrap();
    let cats = ImageSet::from_sheet(&sheet, 32, "cat")
        .unwrap()
        .first(PICTURES);
    (cats.names.clone(), cats.tensor() * 2.0 - 1.0)
}

/// The pixels of images must be these numbers, but for what another batch rounds otherwise: a level
/// in one of 1,000.
#[track_caller]
fn assert_pixels(images: &[RunFile], want: &Tensor) {
    let want = want.permute([0, 2, 3, 1]).contiguous().flatten(0, -1);
    let want = Vec::<f32>::try_from(want).unwrap();
    let got: Vec<u8> = images.iter().flat_map(pixels).collect();
    assert_eq!(got.len(), want.len());
    let mut others = 0;
    for (got, want) in got.iter().zip(&want) {
        let difference = (f32::from(*got) - want).abs();
        assert!(difference <= 1.0, "{got} for {want}");
        others += usize::from(difference > 0.0);
    }
    assert!(
        others * 1000 <= got.len(),
        "{others} of {} differ",
        got.len()
    );
}

#[test]
fn cut_and_cyclegan_truncate_what_their_generators_give() {
    let (_, x0) = sources();
    for method in ["cut", "cyclegan"] {
        let path = FINISHED.path(&weights(method));
        let generator = Loaded::<ResnetGenerator>::open(&path, Device::Cpu, Kind::Float).unwrap();
        let y = tch::no_grad(|| generator.translate(&x0));
        // `tensor2im` of both repositories.
        let want = ((y + 1.0) / 2.0 * 255.0).floor();
        assert_pixels(&images_of(&FINISHED, &format!("{method}-")), &want);
    }
}

/// StarGAN v2 of the finished project.
fn stargan() -> Loaded<StarganV2> {
    let path = FINISHED.path(&weights("stargan_v2"));
    Loaded::open(&path, Device::Cpu, Kind::Float).unwrap()
}

/// `save_image` of torchvision.
fn rounded(y: &Tensor) -> Tensor {
    ((y + 1.0) / 2.0)
        .clamp(0.0, 1.0)
        .g_mul_scalar(255.0)
        .g_add_scalar(0.5)
        .floor()
}

#[test]
fn stargan_v2_rounds_what_its_generator_gives_under_each_images_own_style() {
    const DOG: i64 = 1;
    let (names, x0) = sources();
    let noise = ImageNoise {
        seed: 2,
        names,
        side: 32,
        device: Device::Cpu,
    };
    let networks = stargan();
    let z = noise.draw(Purpose::Latent).flatten(1, -1).narrow(1, 0, 4);
    let y = tch::no_grad(|| networks.translate(&x0, &networks.latent_style(&z, DOG)));
    assert_pixels(
        &images_of(&FINISHED, "stargan-v2--latent--s2"),
        &rounded(&y),
    );

    let sheet = std::fs::read(FINISHED.path("datasets/embedded/test_dogs.png")).unwrap();
    let dogs = ImageSet::from_sheet(&sheet, 32, "dog").unwrap();
    let chosen = egsde_sampler::noise::choices(&noise, dogs.len()).unwrap();
    assert!(
        chosen.iter().collect::<BTreeSet<_>>().len() > 1,
        "{chosen:?}"
    );
    let drawn = dogs.select(&chosen).tensor() * 2.0 - 1.0;
    let y = tch::no_grad(|| networks.translate(&x0, &networks.reference_style(&drawn, DOG)));
    assert_pixels(
        &images_of(&FINISHED, "stargan-v2--reference--s2"),
        &rounded(&y),
    );
}

/// Rows of which `egsde plan` calls every job done, by the beginning of their folders.
fn done_rows(project: &TestProject) -> Vec<&'static str> {
    let plan = project.egsde(&["plan", EXPERIMENT]).printed();
    let mut rows = vec![
        "cut-s",
        "cyclegan-s",
        "stargan-v2--latent--s",
        "stargan-v2--reference--s",
    ];
    rows.retain(|row| {
        let states = job_states(&plan, row);
        states.iter().all(|state| *state == "done")
    });
    rows
}

#[test]
fn a_jobs_identity_has_its_own_generator_and_no_diffusion_network() {
    let project = gan_project(ROWS);
    copy_folder(&FINISHED.path("runs"), &project.path("runs"));
    let before = image_states(&project.path("runs"));
    assert_eq!(done_rows(&project).len(), 4);
    // Neither the diffusion network nor the extractor decides these images.
    project.change_weights(DIFFUSION, TASK);
    project.change_weights(EXTRACTOR, TASK);
    assert_eq!(done_rows(&project).len(), 4);
    project.change_weights(&weights("cut"), TASK);
    let others = [
        "cyclegan-s",
        "stargan-v2--latent--s",
        "stargan-v2--reference--s",
    ];
    assert_eq!(done_rows(&project), others);
    let log = project.run().success().error_text();
    assert_has(&log, &["ran 1 jobs"]);
    assert_eq!(
        image_states(&project.path("runs")).len(),
        before.len() + PICTURES + 1
    );
    // Reference images decide those whose styles come from them, and the scores of all.
    let (cats, dogs) = ("test_cats.png", "test_dogs.png");
    let task = project.read(TASK);
    let [cat_hash, dog_hash] = [cats, dogs]
        .map(|sheet| sha256_file(&project.path(&format!("datasets/embedded/{sheet}"))).unwrap());
    let mut changed: serde_yaml::Mapping = serde_yaml::from_str(&task).unwrap();
    let sheet = &mut changed["reference"]["sheet"];
    assert_eq!(sheet["sha256"], dog_hash.as_str());
    sheet["file"] = format!("datasets/embedded/{cats}").into();
    sheet["sha256"] = cat_hash.into();
    project.write(TASK, serde_yaml::to_string(&changed).unwrap());
    let log = project.run().success().error_text();
    assert_has(&log, &["ran 6 jobs"]);
    let made = image_states(&project.path("runs")).len() - before.len() - PICTURES - 1;
    assert_eq!(made, 2 * (PICTURES + 1), "those of the reference's row");
}

#[test]
fn rows_of_generators_are_stored_without_loss_whatever_the_experiment_asks() {
    let experiment = ROWS.replace("pictures: 5", "pictures: 5\nformat: jpeg75");
    let methods = experiment
        .split("  - ")
        .take(3)
        .collect::<Vec<_>>()
        .join("  - ");
    let project = gan_project(&(methods + "  - {name: Cats, method: source}\n"));
    project.run().success();
    assert_eq!(images_in(&project, "runs").len(), 2 * PICTURES);
    assert_eq!(files_below(&project.path("runs"), ".jpg").len(), PICTURES);
    let table = project.egsde(&["table", EXPERIMENT]).printed();
    assert_has(
        &table,
        &["Stored as PNG (without loss)", ": CUT, CycleGAN."],
    );
}

/// The project with one text of its experiment or task replaced must be refused in one line.
#[track_caller]
fn assert_refused(file: &str, from: &str, to: &str, parts: &[&str]) {
    let project = gan_project(ROWS);
    project.replace(file, from, to);
    project.egsde(&["plan", EXPERIMENT]).refused(parts);
}

#[test]
fn rows_that_mean_nothing_are_refused_before_anything_runs() {
    let cut = "{name: CUT, method: cut}";
    assert_refused(
        EXPERIMENT,
        cut,
        "{name: CUT, method: cut, steps: 5}",
        &["row \"CUT\"", "unknown field `steps`"],
    );
    assert_refused(
        EXPERIMENT,
        "guidance: latent",
        "guidance: latnet",
        &["StarGAN v2 (latent)", "latnet", "did you mean `latent`?"],
    );
    assert_refused(
        EXPERIMENT,
        "guidance: latent",
        "guidance: latent, domain: wolf",
        &[
            "row \"StarGAN v2 (latent)\"",
            "no domain \"wolf\", it has cat, dog",
        ],
    );
    assert_refused(
        TASK,
        "  cut:",
        "  cutt:",
        &["gans.yaml", "cutt", "did you mean `cut`?"],
    );
    assert_refused(
        TASK,
        "domain: dog",
        "domain: hound",
        &["no domain \"hound\", it has cat, dog: give the row domain"],
    );
}

#[test]
fn a_missing_generator_is_one_line_that_says_how_to_get_it() {
    let project = gan_project(ROWS);
    let text = project.read(TASK);
    let (line, _) = text.split_once("  cyclegan:").unwrap();
    let line = line.lines().last().unwrap();
    project.replace(TASK, &format!("{line}\n"), "");
    let parts = [
        "row \"CUT\"",
        "configs/tasks/gans.yaml names no generator of cut",
    ];
    project.egsde(&["plan", EXPERIMENT]).refused(&parts);
    // A file that is not there: the plan names it, and a run ends at it.
    project.write(TASK, &text);
    project.remove(&weights("cut"));
    let hash = line.split_once("sha256: ").unwrap().1.trim_end_matches('}');
    let plan = project.egsde(&["plan", EXPERIMENT]).printed();
    assert_has(
        &plan,
        &[
            "gans.yaml: generators.cut: ",
            "checkpoints/own/cut.safetensors",
            hash,
        ],
    );
    let parts = [
        "configs/tasks/gans.yaml: generators.cut: ",
        "cut.safetensors is missing",
    ];
    project.run().refused_after_log_lines(&parts);
    // Of those that this project trains, the recipe is named.
    let at_home = text.replace("checkpoints/own/cut", "checkpoints/embedded/hare2cat_cut");
    project.write(TASK, at_home);
    project
        .run()
        .refused_after_log_lines(&["hare2cat_cut", "just train-rivals"]);
}

#[test]
fn another_network_than_the_methods_is_refused() {
    let project = gan_project(ROWS);
    let task = project.read(TASK);
    project.write(
        TASK,
        task.replace("checkpoints/own/cut", "checkpoints/own/stargan_v2"),
    );
    let parts = [
        "row \"CUT\"",
        "generators.cut",
        "a network of kind resnet_generator, this one is of kind stargan_v2",
    ];
    project.egsde(&["plan", EXPERIMENT]).refused(&parts);
    project.write(TASK, task.replace("image_size: 32", "image_size: 16"));
    project
        .egsde(&["plan", EXPERIMENT])
        .refused(&["for pictures of 32 px, the task's have 16"]);
}

#[test]
fn weights_whose_numbers_overflow_end_the_job_and_are_named() {
    let one_row = ROWS.split("  - ").take(2).collect::<Vec<_>>().join("  - ");
    let project = gan_project(&one_row);
    let before = sha256_file(&project.path(&weights("cut"))).unwrap();
    let mut bytes = std::fs::read(project.path(&weights("cut"))).unwrap();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::MAX.to_le_bytes());
    project.write(&weights("cut"), bytes);
    let after = sha256_file(&project.path(&weights("cut"))).unwrap();
    project.replace(TASK, &before, &after);
    let log = project.run().code(1).error_text();
    assert_has(
        &log,
        &["is not finite: the weights of the generator of cut"],
    );
    assert!(!log.contains("lambda"), "{log}");
}

/// A small file of CUT's as its authors write them, and its configuration.
const OWN: &str = "crates/runner/tests/golden/rivals/checkpoints/cat2dog_cut_latest_net_G.pth";
const OWN_NETWORK: &str = "{kind: resnet_generator, input_nc: 3, output_nc: 3, ngf: 2, \
                           n_blocks: 9, norm: instance, antialias_down: true, \
                           antialias_up: true}";

#[test]
fn a_checkpoint_of_ones_own_becomes_a_row_as_it_is_and_converted() {
    let one_row = ROWS.split("  - ").take(2).collect::<Vec<_>>().join("  - ");
    let project = gan_project(&one_row);
    project.write(
        "latest_net_G.pth",
        std::fs::read(checkout().join(OWN)).unwrap(),
    );
    project.write("cut.yaml", OWN_NETWORK);
    let task = project.read(TASK);
    let (head, _) = task.split_once("generators:").unwrap();
    let name_generator = |file: &str, more: &str| {
        let sha256 = sha256_file(&project.path(file)).unwrap();
        let cut = format!("generators:\n  cut: {{file: {file}, sha256: {sha256}{more}}}\n");
        project.write(TASK, head.to_string() + &cut);
    };
    name_generator("latest_net_G.pth", ", network: cut.yaml");
    project.run().success();
    let converted = "checkpoints/own/mine.safetensors";
    let convert = [
        "weights",
        "convert",
        "latest_net_G.pth",
        converted,
        "--network",
        "cut.yaml",
    ];
    project.egsde(&convert).success();
    std::fs::rename(project.path("runs"), project.path("before")).unwrap();
    name_generator(converted, "");
    project.run().success();
    let [before, after] = ["before", "runs"].map(|runs| images_in(&project, runs));
    let pixels_of = |images: &[RunFile]| images.iter().flat_map(pixels).collect::<Vec<u8>>();
    assert_eq!(before.len(), PICTURES);
    assert_eq!(pixels_of(&before), pixels_of(&after));
}

#[test]
fn own_pictures_are_translated_by_such_a_row() {
    let project = gan_project(ROWS);
    let cat = &images_of(&FINISHED, "cut-")[0];
    project.write("in/cat.png", &cat.bytes);
    let translate = |options: &[&str]| {
        let mut arguments = vec!["translate", "in/cat.png", "--task", "gans"];
        arguments.extend(["--experiment", EXPERIMENT]);
        arguments.extend(options);
        project.egsde(&arguments)
    };
    translate(&["--method", "CUT", "--out", "cut"]).success();
    translate(&["--method", "StarGAN v2 (reference)", "--out", "styled"]).success();
    let read = |path: &str| std::fs::read(project.path(path)).unwrap();
    assert_ne!(read("cut/cat.png"), read("styled/cat.png"));
    let steps = translate(&["--method", "CUT", "--steps", "5", "--force"]);
    steps.refused(&["--steps", "unknown field `steps`"]);
}
