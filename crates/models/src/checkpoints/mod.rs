//! Weight files as published: safetensors, PyTorch's zip and legacy formats. Nothing in a file is
//! ever executed, and a size stated in a file is held against the file's own size before memory is
//! taken for it.

mod archive;
mod legacy;
mod pickle;
mod state_dict;

use crate::weights::{WeightFile, parse_safetensors};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use tch::{Kind, Tensor};

/// Which weights of a file that holds several sets of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointPart {
    /// The only set, or the first entry of ddim's list `[model, optimiser, epoch, step, ema]`.
    #[default]
    Model,
    /// The moving average: the last entry of ddim's list.
    Ema,
}

/// Reads a weight file of any known format. Keys lose a leading `module.`; the error names the
/// file.
pub fn read_weights(path: &Path, part: CheckpointPart) -> Result<WeightFile> {
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read weights {}", path.display()))?;
    parse_weights(&bytes, part)
        .with_context(|| format!("{} is not a usable weight file", path.display()))
}

/// Reads the bytes of a weight file as [`read_weights`] does; errors name no file.
pub fn parse_weights(bytes: &[u8], part: CheckpointPart) -> Result<WeightFile> {
    if looks_like_safetensors(bytes) {
        ensure!(
            part == CheckpointPart::Model,
            "a safetensors file holds one set of weights, there is no EMA to choose"
        );
        return parse_safetensors(bytes);
    }
    match bytes {
        [b'P', b'K', 3, 4, ..] => archive::parse(bytes, part),
        [0x80, 2..=5, ..] => legacy::parse(bytes, part),
        [] => bail!("the file is empty"),
        [b'<', ..] => bail!(
            "it is a web page, not weights: the download failed (a quota or a login); fetch it \
             again"
        ),
        _ => bail!(
            "it is neither safetensors nor a PyTorch checkpoint (first bytes {:02x?})",
            &bytes[..bytes.len().min(8)]
        ),
    }
}

/// Whether the bytes start with a header's length that fits the file, and a JSON object.
fn looks_like_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    u64::from_le_bytes(*length) <= rest.len() as u64 && rest.first() == Some(&b'{')
}

/// Turns 16-bit and double entries into float32; integers stay.
pub fn in_float32(file: WeightFile) -> WeightFile {
    let mut tensors = file.tensors;
    for tensor in tensors.values_mut() {
        if tensor.is_floating_point() {
            *tensor = tensor.to_kind(Kind::Float);
        }
    }
    WeightFile {
        tensors,
        metadata: file.metadata,
    }
}

/// A storage's bytes as a flat tensor. Errors where they are not as many as the pickle states.
fn storage_tensor(storage: &pickle::Storage, bytes: &[u8]) -> Result<Tensor> {
    let pickle::Storage { key, kind, count } = storage;
    ensure!(
        storage.size_in_bytes() == Some(bytes.len()),
        "storage {key} has {} bytes, {count} elements were stated",
        bytes.len()
    );
    Ok(Tensor::f_from_data_size(bytes, &[*count as i64], *kind)?)
}
