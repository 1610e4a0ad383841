//! Every way in which bytes from elsewhere come in, as functions of bytes alone. The fuzzer's
//! targets (`fuzz/`) and the test that runs their stored corpus (`tests/corpus.rs`) call the same
//! code as the program. Each function panics where the code under test breaks a promise.

use crate::config::experiment::Experiment;
use crate::config::overrides::Assignment;
use crate::project::Project;
use egsde_data::image_file::{self, encode_jpeg75};
use egsde_data::resize::{Filter, resize_short_side};
use egsde_metrics::fid_statistics;
use egsde_models::checkpoints::{CheckpointPart, inspect_bytes, parse_weights};
use std::path::Path;

/// Values that a tensor may unfold into whatever the size of its file.
const FREE_ELEMENTS: usize = 2 << 20;

/// Largest side in pixels of an image that is resized and written too.
const SMALL_SIDE: usize = 64;

/// Reads weights: safetensors, or a PyTorch checkpoint in the zip or the legacy format.
pub fn read_checkpoint(bytes: &[u8]) {
    for part in [
        CheckpointPart::Model,
        CheckpointPart::Ema,
        CheckpointPart::Key("model.net"),
    ] {
        if let Ok(file) = parse_weights(bytes, part) {
            let is_small = file
                .tensors
                .values()
                .all(|tensor| tensor.numel() <= bytes.len().max(FREE_ELEMENTS));
            assert!(is_small, "more values than bytes");
        }
        if let Ok(inspection) = inspect_bytes(bytes, part) {
            assert_eq!(inspection.bytes, bytes.len() as u64);
        }
    }
}

/// Reads an experiment file. Everything before a line `---` is `--set` assignments, one per line.
pub fn read_experiment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (sets, text) = text.split_once("\n---\n").unwrap_or(("", &text));
    let changes = sets.lines().map(Assignment::from_set);
    let Ok(changes) = changes.collect::<anyhow::Result<Vec<_>>>() else {
        return;
    };
    let (path, project) = (Path::new("e.yaml"), Project::of_this_checkout());
    if let Ok(experiment) = Experiment::parse(text, path, &project, &changes) {
        assert!(!experiment.methods.is_empty() && experiment.pictures > 0);
    }
}

/// Reads a file of published statistics (`.npz`).
pub fn read_statistics(bytes: &[u8]) {
    if let Ok(statistics) = fid_statistics::parse(bytes) {
        assert_eq!(statistics.sigma.size(), [statistics.mu.size()[0]; 2]);
    }
}

/// Reads an image; a small one goes through everything that is done to images.
pub fn read_image(bytes: &[u8]) {
    let Ok(image) = image_file::decode(bytes) else {
        return;
    };
    assert_eq!(image.pixels.len(), image.width * image.height * 3);
    if image.width.max(image.height) <= SMALL_SIDE {
        let small = resize_short_side(&image, 32, Filter::Bicubic);
        let written = small.and_then(|image| encode_jpeg75(&image));
        written.expect("an image that was read can be resized and written");
    }
}
