//! Files in PyTorch's own formats, written by PyTorch (tests/checkpoints/checkpoints.json says what each holds).

use egsde_models::checkpoint::{Which, parse_weights, read_weights};
use egsde_models::synthetic;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/checkpoints")
        .join(name)
}

/// Entries are `param(key)`: the synthetic weight of that key and shape, rounded to the file's precision.
fn holds_synthetic_weights(name: &str, kind: Kind, which: Which) -> usize {
    let file = read_weights(&path(name), which).unwrap();
    for (key, got) in &file.tensors {
        assert!(!key.starts_with("module."), "{key}");
        assert_eq!(got.kind(), kind, "{name} {key}");
        let want = synthetic::weight(key, &got.size(), 1.0)
            .to_kind(kind)
            .to_kind(Kind::Double);
        let error = (got.to_kind(Kind::Double) - want)
            .abs()
            .max()
            .double_value(&[]);
        assert!(error <= 1e-7, "{name} {key}: off by {error}");
    }
    file.tensors.len()
}

#[test]
fn every_format_gives_the_weights_it_holds() {
    for (name, kind) in [
        ("zip.pt", Kind::Float),
        ("legacy.pth", Kind::Float),
        ("module_prefix.pth", Kind::Float),
        ("half.pt", Kind::Half),
        ("bfloat16.pt", Kind::BFloat16),
        ("ddim_list.pth", Kind::Float),
    ] {
        assert_eq!(
            holds_synthetic_weights(name, kind, Which::Model),
            4,
            "{name}"
        );
    }
    assert_eq!(
        holds_synthetic_weights("ddim_list.pth", Kind::Float, Which::Ema),
        4
    );
}

#[test]
fn integer_entries_stay_integers() {
    let file = read_weights(&path("batchnorm_int64.pt"), Which::Model).unwrap();
    let value = |key: &str| {
        Vec::<f64>::try_from(file.tensors[key].to_kind(Kind::Double).flatten(0, -1)).unwrap()
    };
    assert_eq!(file.tensors["num_batches_tracked"].kind(), Kind::Int64);
    assert_eq!(
        (
            value("num_batches_tracked"),
            file.tensors["num_batches_tracked"].dim()
        ),
        (vec![0.0], 0)
    );
    assert_eq!(
        (value("running_var"), value("running_mean")),
        (vec![1.0; 4], vec![0.0; 4])
    );
}

#[test]
fn a_moving_average_that_is_not_there_is_not_invented() {
    let error = read_weights(&path("zip.pt"), Which::Ema).unwrap_err();
    assert!(
        format!("{error:#}").contains("no EMA to choose"),
        "{error:#}"
    );
}

#[test]
fn strided_views_come_out_in_order() {
    let file = read_weights(&path("views.pt"), Which::Model).unwrap();
    let base = Tensor::arange(24, (Kind::Float, Device::Cpu)).reshape([2, 3, 4]);
    let a = base.transpose(1, 2);
    assert!(file.tensors["a"].equal(&a) && file.tensors["a"].is_contiguous());
    assert!(
        file.tensors["b"].equal(&base.slice(1, Some(1), None, 1)),
        "{:?}",
        file.tensors["b"]
    );
    assert!(
        file.tensors["c"].equal(&Tensor::from_slice(&[1f32, 2.0])),
        "{:?}",
        file.tensors["c"]
    );
}

#[track_caller]
fn refused(name: &str, part: &str) {
    let error = format!("{:#}", read_weights(&path(name), Which::Model).unwrap_err());
    assert!(error.contains(name) && error.contains(part), "{error}");
}

#[test]
fn hostile_and_broken_files_are_refused_and_nothing_is_executed() {
    refused("malicious.pt", "posix.system");
    refused("malicious_raw.pkl", "posix.system");
    refused("truncated.pt", "truncated");
    refused("html_error_page.pt", "web page");
    assert!(!Path::new("/tmp/owned_by_pickle").exists());
}

#[test]
fn no_cut_and_no_flipped_byte_panics() {
    for name in ["zip.pt", "legacy.pth", "ddim_list.pth", "views.pt"] {
        let bytes = std::fs::read(path(name)).unwrap();
        let mut refused = 0;
        for cut in (0..bytes.len()).step_by(7) {
            refused += usize::from(parse_weights(&bytes[..cut], Which::Model).is_err());
        }
        assert_eq!(
            refused,
            bytes.len().div_ceil(7),
            "{name}: a cut file was taken for whole"
        );
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            let _ = parse_weights(&changed, Which::Model);
        }
    }
}
