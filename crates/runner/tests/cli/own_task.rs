//! A task of one's own: from folders of photos of any sizes to a table, with networks trained on
//! them.

use crate::common::project::TestProject;
use crate::common::{AssertText, assert_has, edited, interrupt, table_mean};
use image::{Rgb, RgbImage};
use std::process::Stdio;

/// The smallest diffusion network there is, for weights by formula.
const DIFFUSION: &str = "kind: adm_unet
image_size: 32
num_channels: 32
channel_mult: [1, 1]
num_res_blocks: 1
attention_resolutions: []
num_head_channels: 32
learn_sigma: false
use_scale_shift_norm: true
resblock_updown: true
";

/// An extractor as small.
const EXTRACTOR: &str = "kind: dse
image_size: 32
classifier_width: 32
classifier_depth: 1
channel_mult: [1, 1]
attention_resolutions: [16]
num_head_channels: 32
num_classes: 2
pool: attention
use_scale_shift_norm: true
resblock_updown: true
";

/// Writes photos of mixed sizes into a folder: a bright square on a ground of one colour.
fn write_photos(project: &TestProject, folder: &str, count: u32, ground: [u8; 3]) {
    std::fs::create_dir_all(project.path(folder)).unwrap();
    for i in 0..count {
        let (width, height) = (40 + 17 * i, 90 - 5 * i);
        let photo = RgbImage::from_fn(width, height, |x, y| {
            let is_square = (x + 3 * i) % 37 < 12 && y % 31 < 14;
            if is_square {
                Rgb([240, 220, 200])
            } else {
                Rgb(ground.map(|c| c.wrapping_add((x + y) as u8 / 8)))
            }
        });
        let extension = if i % 2 == 0 { "png" } else { "jpg" };
        let path = project.path(&format!("{folder}/photo {i}.{extension}"));
        match extension {
            "png" => photo.save(path).unwrap(),
            _ => {
                let image = egsde_data::image_file::Rgb {
                    width: width as usize,
                    height: height as usize,
                    pixels: photo.into_raw(),
                };
                std::fs::write(path, egsde_data::image_file::encode_jpeg75(&image).unwrap())
                    .unwrap();
            }
        }
    }
}

/// A project with photos of two domains.
fn project_with_photos() -> TestProject {
    let project = TestProject::embedded("");
    write_photos(&project, "photos/day", 7, [90, 140, 200]);
    write_photos(&project, "photos/night", 6, [20, 20, 40]);
    project
}

/// Weights by formula, which carry their configuration.
fn synthesize(project: &TestProject, network: &str, file: &str) {
    let name = format!("configs/networks/{file}.yaml");
    project.write(&name, network);
    project.synthesize(&name, "1", &format!("{file}.safetensors"));
}

/// The options of `egsde task new` for the networks in the project's folder.
const NEW: [&str; 11] = [
    "task",
    "new",
    "day2night",
    "--source",
    "photos/day",
    "--reference",
    "photos/night",
    "--diffusion",
    "diffusion.safetensors",
    "--extractor",
    "extractor.safetensors",
];

#[test]
fn from_two_folders_of_photos_to_a_table() {
    let project = project_with_photos();
    synthesize(&project, DIFFUSION, "diffusion");
    synthesize(&project, EXTRACTOR, "extractor");
    let made = project.egsde(&NEW).printed();
    assert_has(
        &made,
        &[
            "7 pictures of day",
            "6 pictures of night",
            "32 px",
            "experiments/day2night.yaml --report",
        ],
    );
    project.egsde(&["task", "check", "day2night"]).success();
    let run = [
        "run",
        "experiments/day2night.yaml",
        "--set",
        "methods.EGSDE.steps=4",
    ];
    let run = [&run[..], &["--set", "methods.SDEdit.steps=4", "--report"]].concat();
    let table = project.egsde(&run).printed();
    assert_has(&table, &["day -> night, 32 px", "7 pictures", "| EGSDE "]);
    let options = [&["table"], &run[1..6], &["--json"]].concat();
    let table = project.egsde(&options).printed_json();
    for row in ["Source", "SDEdit", "EGSDE"] {
        for metric in ["fid", "l2", "psnr", "ssim"] {
            assert!(
                table_mean(&table, row, metric).is_finite(),
                "{row} {metric}"
            );
        }
    }
    assert!(project.path("runs/day2night/report/grid.png").is_file());
    // The same again does nothing.
    assert_has(
        &project.egsde(&run).success().error_text(),
        &["nothing to do"],
    );
}

/// A generator of CUT's for pictures of any size.
const GENERATOR: &str = "kind: resnet_generator
input_nc: 3
output_nc: 3
ngf: 2
n_blocks: 1
norm: instance
antialias_down: true
antialias_up: true
";

#[test]
fn generators_of_ones_own_come_into_the_task_and_its_first_experiment() {
    let project = project_with_photos();
    synthesize(&project, DIFFUSION, "diffusion");
    synthesize(&project, EXTRACTOR, "extractor");
    synthesize(&project, GENERATOR, "generator");
    let new = |generator: &str| project.egsde(&[&NEW[..], &["--generator", generator]].concat());
    new("cutt=generator.safetensors").refused(&["\"cutt\"", "did you mean `cut`?"]);
    new("cut=generator.safetensor").refused(&["did you mean generator.safetensors?"]);
    let parts = [
        "--generator cut",
        "of kind resnet_generator, this one is of kind dse",
    ];
    new("cut=extractor.safetensors").refused(&parts);
    assert!(!project.path("configs/tasks/day2night.yaml").exists());
    new("cut=generator.safetensors").success();
    let plan = ["plan", "experiments/day2night.yaml"];
    assert_has(
        &project.egsde(&plan).printed(),
        &["cut-s1-", "1 of the generator"],
    );
    let checked = project.egsde(&["task", "check", "day2night"]).printed();
    assert_has(&checked, &["generator.safetensors"]);
    // Other weights are noticed and can be taken up.
    project.flip_bit("generator.safetensors", 4);
    let text = project
        .egsde(&["task", "check", "day2night"])
        .code(1)
        .output_text();
    assert_has(&text, &["changed: ", "generator.safetensors: SHA-256 is"]);
    project
        .egsde(&["task", "check", "day2night", "--update"])
        .success();
    project.egsde(&["task", "check", "day2night"]).success();
}

#[test]
fn a_task_is_written_over_only_when_that_is_meant_and_changes_are_noticed() {
    let project = project_with_photos();
    synthesize(&project, DIFFUSION, "diffusion");
    synthesize(&project, EXTRACTOR, "extractor");
    project.egsde(&NEW).success();
    let task = "configs/tasks/day2night.yaml";
    let before = project.read(task);
    project
        .egsde(&NEW)
        .refused(&["day2night.yaml is there already", "--force"]);
    assert_eq!(project.read(task), before);
    write_photos(&project, "photos/day", 8, [90, 140, 200]);
    let run = ["run", "experiments/day2night.yaml"];
    let parts = [
        "pictures of",
        "photos/day: SHA-256 is",
        "task check NAME --update",
    ];
    project.egsde(&run).refused(&parts);
    let check = ["task", "check", "day2night"];
    let listed = project.egsde(&check).code(1).output_text();
    assert_has(&listed, &["changed: ", "photos/day", "ok: "]);
    project
        .egsde(&[&check[..], &["--update"]].concat())
        .success();
    project.egsde(&check).success();
    project.egsde(&[&NEW[..], &["--force"]].concat()).success();
    project
        .egsde(&["task", "check", "day2nite"])
        .refused(&["did you mean `day2night`?"]);
}

#[test]
fn what_keeps_a_task_from_being_made_is_told() {
    let project = project_with_photos();
    synthesize(&project, DIFFUSION, "diffusion");
    synthesize(&project, EXTRACTOR, "extractor");
    let larger = DIFFUSION.replace("image_size: 32", "image_size: 64");
    synthesize(&project, &larger, "larger");
    let weights = std::fs::read(project.path("diffusion.safetensors")).unwrap();
    let has_configuration = String::from_utf8_lossy(&weights[8..400]).contains("egsde.network");
    assert!(
        has_configuration,
        "weights by formula carry their configuration"
    );
    let refused = |at: usize, value: &str, parts: &[&str]| {
        let mut arguments = NEW;
        arguments[at] = value;
        project.egsde(&arguments).refused(parts);
        assert!(!project.path("configs/tasks/day2night.yaml").exists());
    };
    refused(2, "a/b", &["cannot be a task's name"]);
    refused(
        4,
        "photos/dya",
        &["no folder photos/dya", "did you mean photos/day?"],
    );
    refused(
        8,
        "difusion.safetensors",
        &["did you mean diffusion.safetensors?"],
    );
    refused(8, "extractor.safetensors", &["--diffusion", "kind"]);
    refused(
        8,
        "larger.safetensors",
        &["takes pictures of 64 px, the extractor has 32"],
    );
    refused(10, "diffusion.safetensors", &["--extractor", "kind"]);
    project.write("photos/day/broken.png", "no picture");
    refused(0, "task", &["broken.png"]);
    std::fs::remove_file(project.path("photos/day/broken.png")).unwrap();
    let classes = [&NEW[..], &["--classes", "a,b,c"]].concat();
    project
        .egsde(&classes)
        .refused(&["the extractor has 2 classes, not 3"]);
    let size = [&NEW[..], &["--image-size", "64"]].concat();
    project
        .egsde(&size)
        .refused(&["takes pictures of 32 px, --image-size has 64"]);
}

/// A recipe on the photos.
fn recipe(name: &str, task: &str, classes: &str, network: &str) -> String {
    let network: String = network.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        r"name: {name}
task: {task}
classes: [{classes}]
folders: {{{folders}}}
network:
{network}steps: 4
batch_size: 2
learning_rate: 0.0001
decay_from: 0
ema_decay: 0.5
seed: 3
checkpoint_every: 2
output: checkpoints/{name}.safetensors
",
        folders = classes
            .split(", ")
            .map(|class| format!("{class}: photos/{class}"))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

#[test]
fn networks_are_trained_on_own_folders_and_become_a_task() {
    let project = project_with_photos();
    project.write(
        "extractor.yaml",
        recipe("extractor", "noised_classifier", "day, night", EXTRACTOR),
    );
    project.write(
        "diffusion.yaml",
        recipe("diffusion", "diffusion", "night", DIFFUSION),
    );
    let train = |name: &str, options: &[&str]| {
        let file = format!("{name}.yaml");
        let arguments = [&["train", &file, "--precision", "f32"], options].concat();
        project.egsde(&arguments)
    };
    let trained = train("extractor", &[]).success();
    assert_has(
        &trained.error_text(),
        &["day: 7 pictures", "night: 6 pictures"],
    );
    assert_has(&trained.output_text(), &["step 4", "test_accuracy_t0_500"]);
    train("diffusion", &["--stop-at", "2"]).success();
    assert_has(
        &train("diffusion", &[]).success().error_text(),
        &["resumed at step 2"],
    );
    // The extractor tells its classes, and another network starts from it.
    let new = [
        "task",
        "new",
        "trained",
        "--source",
        "photos/day",
        "--reference",
        "photos/night",
        "--diffusion",
        "checkpoints/diffusion.safetensors",
        "--extractor",
        "checkpoints/extractor.safetensors",
    ];
    project.egsde(&new).success();
    assert_has(
        &project.read("configs/tasks/trained.yaml"),
        &["- day\n- night\n"],
    );
    let again = [
        "--set",
        "init_from=checkpoints/extractor.safetensors",
        "--set",
        "name=second",
    ];
    let elsewhere = ["--set", "output=checkpoints/second.safetensors"];
    train("extractor", &[&again[..], &elsewhere].concat()).success();
    // Weights of another recipe are not written over.
    let over = train("extractor", &again);
    over.refused(&["was not trained by the recipe second", "--force"]);
    // Changed pictures are no resumed training.
    write_photos(&project, "photos/night", 7, [20, 20, 40]);
    train("diffusion", &["--set", "steps=6"])
        .refused_after_log_lines(&["the pictures have changed since"]);
    for (change, parts) in [
        ("folders.evening=photos/night", "belongs to no class"),
        ("classes=[day]", "belongs to no class"),
        ("held_out=1.5", "held_out is 1.5"),
        ("folders.day=photos/dya", "photos/dya"),
        ("steps=many", "expected a whole number"),
    ] {
        train("extractor", &["--set", change]).refused_after_log_lines(&[parts]);
    }
}

#[test]
fn an_interrupted_training_goes_on_from_its_last_step() {
    let project = project_with_photos();
    let text = recipe("diffusion", "diffusion", "night", DIFFUSION);
    project.write("long.yaml", edited(&text, "steps: 4", "steps: 100000"));
    let arguments = ["train", "long.yaml", "--precision", "f32"];
    let mut training = project.command(&arguments);
    let child = training.stderr(Stdio::piped()).spawn().unwrap();
    let checkpoint = project.path(".training/diffusion/checkpoint.safetensors");
    while !checkpoint.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let text = interrupt(child);
    assert_has(
        &text,
        &["interrupted", "the same command goes on from there"],
    );
    assert!(!project.path("checkpoints/diffusion.safetensors").exists());
    let logged = project.read(".training/diffusion/loss.csv");
    let last = logged.lines().last().unwrap();
    let step = last.split(',').next().unwrap();
    // Nothing of what was computed is lost: the log's last step is the checkpoint's.
    let resumed = [&arguments[..], &["--stop-at", "1"]].concat();
    let resumed = project.egsde(&resumed).success();
    assert_has(
        &resumed.error_text(),
        &[&format!("resumed at step {step}\n")],
    );
    assert_has(&resumed.output_text(), &[&format!("step {step},")]);
}
