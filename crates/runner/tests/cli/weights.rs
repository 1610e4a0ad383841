//! `egsde weights`: checkpoints as people keep them, and files that are never written over.

use crate::common::project::TestProject;
use crate::common::{AssertText, assert_has, checkout, egsde};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const TINY: &str = "kind: adm_unet
image_size: 32
num_channels: 32
channel_mult: [1, 2]
num_res_blocks: 1
attention_resolutions: \"16\"
num_heads: 4
";

/// A folder of the tests' checkpoints and of what is made of them.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A path as an argument.
    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes the tiny network's file with more keys, and its weights by formula.
    fn synthesize(&self, more: &str) -> (String, String) {
        let (network, weights) = (self.arg("network.yaml"), self.arg("weights.safetensors"));
        std::fs::write(&network, format!("{TINY}{more}")).unwrap();
        egsde(&["weights", "synthesize", &weights, "--network", &network]).success();
        (network, weights)
    }
}

fn checkpoint(name: &str) -> String {
    let folder = checkout().join("crates/models/tests/checkpoints");
    folder.join(name).display().to_string()
}

fn sha256(path: &Path) -> String {
    egsde_data::files::sha256_file(path).unwrap()
}

#[test]
fn a_checkpoint_is_never_converted_onto_itself() {
    let folder = Folder::new();
    let only = folder.path("only_copy.pth");
    std::fs::copy(checkpoint("ddim_list.pth"), &only).unwrap();
    let link = folder.path("link.pth");
    std::os::unix::fs::symlink(&only, &link).unwrap();
    let before = sha256(&only);
    let only = folder.arg("only_copy.pth");
    for output in [&only, &folder.arg("link.pth")] {
        for force in [&[][..], &["--force"]] {
            let convert = [&["weights", "convert", &only, output], force].concat();
            egsde(&convert).refused(&["the input itself"]);
        }
    }
    assert_eq!(sha256(&folder.path("only_copy.pth")), before);
}

#[test]
fn no_file_of_another_origin_is_written_over_without_force() {
    let folder = Folder::new();
    let notes = folder.arg("notes.txt");
    std::fs::write(&notes, "my notes").unwrap();
    let network = "configs/networks/fid_inception.yaml";
    let weights = checkpoint("zip.pt");
    let synthesize = ["weights", "synthesize", &notes, "--network", network];
    let convert = ["weights", "convert", &weights, &notes];
    egsde(&synthesize).refused(&["notes.txt is there already", "--force"]);
    egsde(&convert).refused(&["notes.txt is there already", "--force"]);
    assert_eq!(std::fs::read(&notes).unwrap(), b"my notes");
    egsde(&[&convert[..], &["--force"]].concat()).success();
    // What the command made may be made again, by the same command alone.
    egsde(&convert).success();
    egsde(&synthesize).refused(&["--force"]);
    egsde(&["weights", "convert", &weights, "/dev/null", "--force"])
        .refused(&["/dev/null is no regular file"]);
    let into = folder.0.path().display().to_string();
    egsde(&["weights", "convert", &weights, &into]).refused(&["is a folder"]);
}

#[test]
fn nested_weights_are_converted_and_what_is_left_aside_is_told() {
    let folder = Folder::new();
    let (kept, out) = (
        checkpoint("model_and_ema.pt"),
        folder.arg("out.safetensors"),
    );
    let convert = ["weights", "convert", &kept, &out];
    let told = egsde(&convert).printed();
    assert_has(
        &told,
        &[
            "4 entries of model; left aside: ema (4 tensors)",
            "step (3)",
        ],
    );
    let own = sha256(&folder.path("out.safetensors"));
    for option in [&["--ema"][..], &["--key", "ema"]] {
        egsde(&[&convert[..], option].concat()).success();
        assert_ne!(sha256(&folder.path("out.safetensors")), own);
    }
    egsde(&[&convert[..], &["--key", "modle"]].concat()).refused(&[
        "no \"modle\"",
        "did you mean `model`",
        "optimizer",
    ]);
    egsde(&[&convert[..], &["--key", "ema", "--ema"]].concat()).refused(&["--ema"]);
    for (name, part) in [
        ("whole_module.pt", "a whole module"),
        ("torchscript.pt", "TorchScript"),
        ("two_sets.pt", "encoder (4 tensors)"),
    ] {
        egsde(&["weights", "convert", &checkpoint(name), &out]).refused(&[name, part]);
    }
}

#[test]
fn inspecting_shows_what_a_file_holds() {
    let kept = checkpoint("model_and_ema.pt");
    let text = egsde(&["weights", "inspect", &kept]).printed();
    let parts = [
        "PyTorch (zip), 5,",
        "optimizer  the state of an optimiser",
        "weights in model: 4 tensors (4 of float32), 62 numbers",
        "conv.weight  float32 [2, 3, 3, 3]",
        "network: none that this program knows",
    ];
    assert_has(&text, &parts);
    let document = egsde(&["weights", "inspect", &kept, "--ema", "--json"]).printed_json();
    assert_eq!(document["key"], "ema");
    assert_eq!(document["numbers"], 62);
    let weight = &document["tensors"]["fc.weight"];
    assert_eq!(*weight, json!({"shape": [2, 2], "kind": "float32"}));
    assert_eq!(document["outline"][3], json!({"key": "step", "what": "3"}));
    let several = egsde(&["weights", "inspect", &checkpoint("two_sets.pt")]).printed();
    assert_has(&several, &["encoder  4 tensors", "choose by --key"]);
    let strange = egsde(&["weights", "inspect", &checkpoint("malicious.pt")]);
    strange.refused(&["posix.system", "nothing was executed"]);
}

#[test]
fn inspecting_finds_the_network_that_weights_belong_to() {
    let folder = Folder::new();
    let more = "use_scale_shift_norm: false\nlearn_sigma: true\nclass_cond: true\n\
                num_classes: 5\n";
    let (network, weights) = folder.synthesize(more);
    let carried = egsde(&["weights", "inspect", &weights, "--json"]).printed_json();
    assert_eq!(carried["network"]["carried"], true);
    assert_eq!(carried["network"]["config"]["num_heads"], 4);
    // The same weights under their keys alone.
    let bare = folder.arg("bare.safetensors");
    let mut file = egsde_models::weights::read_safetensors(Path::new(&weights)).unwrap();
    file.metadata.clear();
    let bytes = egsde_models::weights::to_safetensors(&file, tch::Kind::Half).unwrap();
    std::fs::write(&bare, bytes).unwrap();
    let found = egsde(&["weights", "inspect", &bare, "--json"]).printed_json();
    let likely = &found["network"];
    assert_eq!(likely["misfits"], Value::Null);
    for (key, value) in [
        ("kind", json!("adm_unet")),
        ("num_channels", json!(32)),
        ("channel_mult", json!([1, 2])),
        ("learn_sigma", json!(true)),
        ("use_scale_shift_norm", json!(false)),
        ("resblock_updown", json!(false)),
        ("num_classes", json!(5)),
    ] {
        assert_eq!(likely["config"][key], value, "{key}");
    }
    assert!(likely["assumed"]["image_size"].is_string());
    let text = egsde(&["weights", "inspect", &bare]).printed();
    assert_has(
        &text,
        &[
            "  kind: adm_unet\n",
            "image_size: 256  # not in the weights",
        ],
    );
    egsde(&["weights", "check", &bare, "--network", &network]).success();
}

const LABELLED: &str = "
name: labelled
title: Labelled
task: cat2dog-32
seeds: [1]
pictures: 1
runs_dir: runs
methods:
  - {name: A, method: sdedit, steps: 4, start: 0.5, class_label: 1}
  - {name: B, method: egsde, steps: 4, start: 0.5, lambda_i: 0.5, class_label: 2}
  - {name: C, method: sdedit, steps: 4, start: 0.5, class_label: 2}
  - {name: D, method: ilvr, steps: 4, ilvr_variance: fixedsmall, class_label: 2}
";

/// The embedded project with another diffusion network.
fn project_with_network(keys: &str) -> TestProject {
    let project = TestProject::embedded(LABELLED);
    project.write("network.yaml", format!("{TINY}{keys}"));
    let weights = "checkpoints/embedded/dog_diffusion.safetensors";
    let before = sha256(&project.path(weights));
    let synthesize = [
        "weights",
        "synthesize",
        "--force",
        "--network",
        "network.yaml",
        weights,
    ];
    project.egsde(&synthesize).success();
    let after = sha256(&project.path(weights));
    project.replace("configs/tasks/cat2dog-32.yaml", &before, &after);
    project
}

#[test]
fn a_network_of_classes_is_told_the_class_of_each_row() {
    let project = project_with_network("class_cond: true\nnum_classes: 3\n");
    project.run().success();
    let images = crate::common::files_below(&project.path("runs"), ".png");
    assert_eq!(images.len(), 4);
    for (index, image) in images.iter().enumerate() {
        let same = images[..index]
            .iter()
            .any(|other| other.bytes == image.bytes);
        assert!(!same, "{}", image.name);
    }
    let experiment = project.read("e.yaml");
    for (from, to, part) in [
        ("class_label: 1", "class_label: 3", "classes 0 to 2"),
        (", class_label: 1", "", "give the row class_label, 0 to 2"),
        ("class_label: 1", "class_label: -1", "class_label is -1"),
    ] {
        project.write("e.yaml", experiment.replacen(from, to, 1));
        project.run().refused_after_log_lines(&[part]);
    }
}

#[test]
fn a_class_means_nothing_to_a_network_without_classes() {
    let project = project_with_network("");
    project
        .run()
        .refused_after_log_lines(&["row \"A\"", "trained without classes: leave it out"]);
}
