//! Checkpoints as people keep them: nested, with other things beside the weights, in every kind of
//! number, and files that are something else. `scripts/golden_checkpoints.py` wrote the files.

use egsde_models::checkpoints::{
    Checkpoint, CheckpointPart, inspect, parse_weights, read_checkpoint, read_weights,
};
use egsde_models::synthetic;
use egsde_models::weights::{WeightFile, parse_safetensors, to_safetensors};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

const MODEL: CheckpointPart = CheckpointPart::Model;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/checkpoints")
        .join(name)
}

/// Checks that the weights are the four by formula, times a factor.
#[track_caller]
fn check_weights(name: &str, part: CheckpointPart, factor: f64) -> Checkpoint {
    let checkpoint = read_checkpoint(&path(name), part).unwrap();
    let tensors = &checkpoint.weights.tensors;
    let names: Vec<_> = tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["conv.bias", "conv.weight", "fc.bias", "fc.weight"]);
    for (key, got) in tensors {
        let want = synthetic::weight(key, &got.size(), 1.0) * factor;
        assert!(got.equal(&want), "{name} {key}");
    }
    checkpoint
}

#[test]
fn weights_are_found_wherever_people_keep_them() {
    for (name, key) in [
        ("model_and_ema.pt", "model"),
        ("model_state_dict.pt", "model_state_dict"),
        ("generator.ckpt", "generator"),
        ("params_ema.pth", "params"),
        ("wrapped.pt", "net"),
        ("one_unusual.pt", "my_weights"),
        ("nested_legacy.pth", "model"),
        ("protocol4.pt", "model"),
        ("weights_only.pt", "state_dict"),
        ("plain_python.pt", "state_dict"),
    ] {
        assert_eq!(check_weights(name, MODEL, 1.0).key, key, "{name}");
    }
    for name in ["model_and_ema.pt", "params_ema.pth"] {
        check_weights(name, CheckpointPart::Ema, 0.5);
    }
    for (name, key, factor) in [
        ("model_and_ema.pt", "ema", 0.5),
        ("generator.ckpt", "discriminator", 0.5),
        ("two_sets.pt", "encoder", 1.0),
        ("two_sets.pt", "decoder", 0.5),
        ("lightning.ckpt", "state_dict.model", 1.0),
        ("lightning.ckpt", "model", 1.0),
        ("ddim_list.pth", "4", 1.0),
    ] {
        let part = CheckpointPart::Key(key);
        if name == "ddim_list.pth" {
            assert_eq!(read_weights(&path(name), part).unwrap().tensors.len(), 4);
        } else {
            check_weights(name, part, factor);
        }
    }
}

/// What is left aside of a file, as `key: what`.
fn left_aside(name: &str) -> Vec<String> {
    let checkpoint = read_checkpoint(&path(name), MODEL).unwrap();
    let entries = checkpoint.left_aside.iter();
    entries
        .map(|entry| format!("{}: {}", entry.key, entry.what))
        .collect()
}

#[test]
fn what_lies_beside_the_weights_is_left_aside_and_told() {
    assert_eq!(
        left_aside("model_and_ema.pt"),
        [
            "ema: 4 tensors",
            "optimizer: the state of an optimiser",
            "step: 3",
            "best: 0.25"
        ]
    );
    for (name, wanted) in [
        (
            "weights_only.pt",
            &[
                "set: a set of 2",
                "counter: a dictionary of 2",
                "device: torch.device",
                "dtype: torch.float16",
                "sparse: a sparse tensor",
                "quantised: a quantised tensor",
                "attribute: a tensor float32 [2]",
                "large: a large number",
            ][..],
        ),
        (
            "plain_python.pt",
            &[
                "numpy scalar: a number of NumPy's",
                "numpy array: a value of NumPy's",
                "args: argparse.Namespace",
                "defaultdict: a dictionary of 1",
                "deque: a list of 1",
                "path: pathlib.PurePosixPath",
            ],
        ),
    ] {
        let aside = left_aside(name);
        for line in wanted {
            assert!(
                aside.iter().any(|l| l == line),
                "{line} is not in {aside:?}"
            );
        }
    }
}

#[test]
fn every_kind_of_number_is_read_and_written() {
    let from_pickle = read_weights(&path("kinds.pt"), MODEL).unwrap();
    let from_safetensors = read_weights(&path("kinds.safetensors"), MODEL).unwrap();
    for file in [&from_pickle, &from_safetensors] {
        assert_eq!(file.tensors.len(), 15);
        for (name, tensor) in &file.tensors {
            let values = Vec::<f64>::try_from(tensor.to_kind(Kind::Double)).unwrap();
            let want = match name.as_str() {
                "bool" => [0.0, 1.0, 1.0, 1.0],
                _ => [0.0, 1.0, 2.0, 3.0],
            };
            assert_eq!(values, want, "{name}");
        }
        let written = to_safetensors(file, Kind::Float).unwrap();
        let back = parse_safetensors(&written).unwrap();
        for (name, tensor) in &file.tensors {
            let kind = match tensor.is_floating_point() {
                true => Kind::Float,
                false => tensor.kind(),
            };
            assert_eq!(back.tensors[name].kind(), kind, "{name}");
            assert!(back.tensors[name].equal(&tensor.to_kind(kind)), "{name}");
        }
    }
    for (name, kind) in [
        ("bool", Kind::Bool),
        ("int8", Kind::Int8),
        ("int16", Kind::Int16),
        ("uint8", Kind::Uint8),
        ("uint16", Kind::Int),
        ("uint32", Kind::Int64),
        ("uint64", Kind::Int64),
    ] {
        assert_eq!(from_pickle.tensors[name].kind(), kind, "{name}");
    }
}

#[test]
fn tied_and_expanded_weights_and_parameters_are_read() {
    let tied = read_weights(&path("tied.pt"), MODEL).unwrap().tensors;
    let want = synthetic::weight("fc.weight", &[2, 2], 1.0);
    assert_eq!(tied.len(), 6);
    assert!(tied.values().all(|tensor| tensor.equal(&want)));
    let expanded = read_weights(&path("expanded.pt"), MODEL).unwrap().tensors;
    assert_eq!(expanded["w"].size(), [4, 5]);
    assert_eq!(expanded["w"].sum(Kind::Float).double_value(&[]), 20.0);
    let parameters = read_weights(&path("parameters.pt"), MODEL).unwrap().tensors;
    assert!(parameters["fc.weight"].equal(&want));
    assert_eq!(parameters["scalar"].size(), [0i64; 0]);
    assert_eq!(parameters["view"].size(), [1, 2]);
    assert_eq!(parameters["empty"].size(), [0, 3]);
}

/// Checks that a file is refused with an error that names it and has all parts.
#[track_caller]
fn check_refused(name: &str, part: CheckpointPart, wanted: &[&str]) {
    let error = read_weights(&path(name), part).unwrap_err();
    let error = format!("{error:#}");
    for text in [&[name], wanted].concat() {
        assert!(error.contains(text), "{text:?} is not in {error:?}");
    }
    let accuses = error.contains("run code") || error.contains("elsewhere");
    assert!(!accuses, "{error}");
}

#[test]
fn what_is_no_state_dict_is_named_for_what_it_is() {
    let module = "torch.nn.modules.container.Sequential";
    for (name, wanted) in [
        (
            "whole_module.pt",
            &["a whole module", module, "state_dict()"][..],
        ),
        (
            "whole_module_legacy.pth",
            &["a whole module", "__main__.Tiny"],
        ),
        ("torchscript.pt", &["TorchScript", "state_dict()"]),
        ("optimizer.pt", &["the state of an optimiser, not weights"]),
        (
            "object.pt",
            &["an object of __main__.Config", "nothing was executed"],
        ),
        ("bare.pkl", &["a bare pickle", "torch.save"]),
        ("empty.safetensors", &["it holds no weights"]),
        (
            "two_sets.pt",
            &[
                "encoder (4 tensors)",
                "decoder (4 tensors)",
                "epoch (1)",
                "--key",
            ],
        ),
    ] {
        check_refused(name, MODEL, wanted);
    }
    let wrong = CheckpointPart::Key("genrator");
    check_refused("generator.ckpt", wrong, &["did you mean `generator`?"]);
    check_refused(
        "generator.ckpt",
        CheckpointPart::Ema,
        &["no EMA", "generator"],
    );
}

#[test]
fn a_folder_and_a_device_are_no_weight_files() {
    let folder = path("");
    let error = read_weights(&folder, MODEL).unwrap_err().to_string();
    assert!(error.contains("is a folder"), "{error}");
    let error = read_weights(Path::new("/dev/zero"), MODEL).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn inspecting_tells_keys_shapes_kinds_and_nesting() {
    let found = inspect(&path("model_and_ema.pt"), MODEL).unwrap();
    assert_eq!((found.key.as_str(), found.tensors.len()), ("model", 4));
    assert_eq!(found.tensors["conv.weight"].shape, [2, 3, 3, 3]);
    assert_eq!(found.tensors["conv.weight"].kind, "float32");
    let outline: Vec<_> = found.outline.iter().map(|line| &*line.key).collect();
    assert_eq!(outline, ["model", "ema", "optimizer", "step", "best"]);
    assert_eq!(
        found.bytes,
        path("model_and_ema.pt").metadata().unwrap().len()
    );

    let several = inspect(&path("two_sets.pt"), MODEL).unwrap();
    assert!(several.problem.unwrap().contains("--key"));
    assert_eq!(several.outline[0].what, "4 tensors");

    for name in ["kinds.pt", "kinds.safetensors"] {
        let found = inspect(&path(name), MODEL).unwrap();
        for (name, info) in &found.tensors {
            assert_eq!(info.kind, *name);
        }
    }
}

#[test]
fn no_cut_and_no_flipped_byte_panics() {
    for name in [
        "weights_only.pt",
        "plain_python.pt",
        "kinds.pt",
        "nested_legacy.pth",
        "whole_module.pt",
        "lightning.ckpt",
    ] {
        let bytes = std::fs::read(path(name)).unwrap();
        for at in (0..bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            for part in [MODEL, CheckpointPart::Ema, CheckpointPart::Key("model.a")] {
                let _ = parse_weights(&changed, part);
                let _ = parse_weights(&bytes[..at], part);
            }
        }
    }
}

#[test]
fn a_part_of_a_safetensors_file_is_chosen_by_what_its_names_begin_with() {
    let one = |value: f32| Tensor::from_slice(&[value]);
    let tensors = [("net.a", 1.0), ("net.b", 2.0), ("other", 3.0)];
    let tensors = tensors.map(|(name, value)| (name.to_string(), one(value)));
    let file = WeightFile {
        tensors: tensors.into(),
        ..WeightFile::default()
    };
    let bytes = to_safetensors(&file, Kind::Float).unwrap();
    let part = parse_weights(&bytes, CheckpointPart::Key("net")).unwrap();
    assert_eq!(part.tensors.into_keys().collect::<Vec<_>>(), ["a", "b"]);
    let error = parse_weights(&bytes, CheckpointPart::Key("nett")).unwrap_err();
    assert!(error.to_string().contains("did you mean `net`?"), "{error}");
}
