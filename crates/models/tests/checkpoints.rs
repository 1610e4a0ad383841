//! Files in PyTorch's own formats, written by PyTorch. tests/checkpoints/checkpoints.json describes
//! what each holds.

use egsde_models::checkpoints::{CheckpointPart, parse_weights, read_weights};
use egsde_models::synthetic;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/checkpoints")
        .join(name)
}

/// Checks that every entry is the synthetic weight of its key and shape, rounded to the precision
/// of the file; gives the number of entries.
#[track_caller]
fn check_synthetic_weights(name: &str, kind: Kind, part: CheckpointPart) -> usize {
    let file = read_weights(&path(name), part).unwrap();
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
            check_synthetic_weights(name, kind, CheckpointPart::Model),
            4,
            "{name}"
        );
    }
    assert_eq!(
        check_synthetic_weights("ddim_list.pth", Kind::Float, CheckpointPart::Ema),
        4
    );
}

#[test]
fn integer_entries_stay_integers() {
    let file = read_weights(&path("batchnorm_int64.pt"), CheckpointPart::Model).unwrap();
    for (key, want) in [
        ("num_batches_tracked", vec![0.0]),
        ("running_var", vec![1.0; 4]),
        ("running_mean", vec![0.0; 4]),
    ] {
        let values = file.tensors[key].to_kind(Kind::Double).flatten(0, -1);
        assert_eq!(Vec::<f64>::try_from(values).unwrap(), want, "{key}");
    }
    let tracked = &file.tensors["num_batches_tracked"];
    assert_eq!((tracked.kind(), tracked.dim()), (Kind::Int64, 0));
}

#[test]
fn a_moving_average_that_is_not_there_is_not_invented() {
    let error = read_weights(&path("zip.pt"), CheckpointPart::Ema).unwrap_err();
    assert!(
        format!("{error:#}").contains("no EMA to choose"),
        "{error:#}"
    );
}

#[test]
fn strided_views_come_out_in_order() {
    let tensors = read_weights(&path("views.pt"), CheckpointPart::Model)
        .unwrap()
        .tensors;
    let base = Tensor::arange(24, (Kind::Float, Device::Cpu)).reshape([2, 3, 4]);
    assert!(tensors["a"].equal(&base.transpose(1, 2)) && tensors["a"].is_contiguous());
    assert!(
        tensors["b"].equal(&base.slice(1, Some(1), None, 1)),
        "{:?}",
        tensors["b"]
    );
    assert!(
        tensors["c"].equal(&Tensor::from_slice(&[1f32, 2.0])),
        "{:?}",
        tensors["c"]
    );
}

/// Checks that a file is refused with an error that names it and contains `part`.
#[track_caller]
fn check_refused(name: &str, part: &str) {
    let error = format!(
        "{:#}",
        read_weights(&path(name), CheckpointPart::Model).unwrap_err()
    );
    assert!(error.contains(name) && error.contains(part), "{error}");
}

#[test]
fn hostile_and_broken_files_are_refused_and_nothing_is_executed() {
    check_refused("malicious.pt", "posix.system");
    check_refused("malicious_raw.pkl", "posix.system");
    check_refused("truncated.pt", "truncated");
    check_refused("html_error_page.pt", "web page");
    assert!(!Path::new("/tmp/owned_by_pickle").exists());
}

#[test]
fn no_cut_and_no_flipped_byte_panics() {
    for name in ["zip.pt", "legacy.pth", "ddim_list.pth", "views.pt"] {
        let bytes = std::fs::read(path(name)).unwrap();
        for cut in (0..bytes.len()).step_by(7) {
            let parsed = parse_weights(&bytes[..cut], CheckpointPart::Model);
            assert!(
                parsed.is_err(),
                "{name}: its first {cut} bytes were taken for the whole"
            );
        }
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            let _ = parse_weights(&changed, CheckpointPart::Model);
        }
    }
}
