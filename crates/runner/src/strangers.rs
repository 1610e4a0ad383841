//! Every way a stranger's bytes come in, as functions of bytes alone: the fuzzer's targets (`fuzz/`) and their stored corpus
//! (`tests/corpus.rs`) call the same code as the program.

use crate::spec::Experiment;
use egsde_metrics::image_file::{self, encode_jpeg75};
use egsde_metrics::resize::{Filter, resize_short_side};
use egsde_metrics::statistics_file;
use egsde_models::checkpoint::{Which, parse_weights};
use std::path::Path;

/// Weights: safetensors, PyTorch zip and legacy.
pub fn checkpoint(bytes: &[u8]) {
    for which in [Which::Model, Which::Ema] {
        if let Ok(file) = parse_weights(bytes, which) {
            assert!(
                file.tensors.values().all(|t| t.numel() <= bytes.len()),
                "more values than bytes"
            );
        }
    }
}

/// An experiment file; everything up to a line `---` is `--set` assignments, one a line.
pub fn spec(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (sets, text) = text.split_once("\n---\n").unwrap_or(("", &text));
    let sets: Vec<String> = sets.lines().map(String::from).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if let Ok(experiment) = Experiment::parse(text, Path::new("e.yaml"), &root, &sets) {
        assert!(!experiment.methods.is_empty() && experiment.pictures > 0);
    }
}

/// A statistics file.
pub fn statistics(bytes: &[u8]) {
    if let Ok(statistics) = statistics_file::parse(bytes) {
        assert_eq!(statistics.sigma.size(), [statistics.mu.size()[0]; 2]);
    }
}

/// A picture, through everything done to pictures of small size.
pub fn picture(bytes: &[u8]) {
    let Ok(picture) = image_file::decode(bytes) else {
        return;
    };
    assert_eq!(picture.pixels.len(), picture.width * picture.height * 3);
    if picture.width.max(picture.height) <= 64 {
        let small = resize_short_side(&picture, 32, Filter::Bicubic);
        small
            .and_then(|p| encode_jpeg75(&p))
            .expect("a picture that was read can be resized and written");
    }
}
