//! Weight files as people keep them: safetensors, PyTorch's zip and legacy formats, with whatever
//! else lies beside the weights. Nothing in a file is ever executed, and a size stated in a file is
//! held against the file's own size before memory is taken for it.

mod archive;
mod contents;
mod file_kind;
mod inspection;
mod legacy;
mod pickle;
mod search;
mod selection;
mod state_dict;

pub use contents::Entry;
pub use inspection::{Inspection, TensorInfo, inspect, inspect_bytes};

use crate::weights::{WeightFile, parse_safetensors};
use anyhow::{Context, Result, bail, ensure};
use archive::Archive;
use egsde_data::files::read_bounded;
use egsde_data::nearest::offer;
use file_kind::Format;
use pickle::{Pickle, Storage};
use selection::{left_aside, select};
use state_dict::{make_tensors, named_views};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use tch::Kind;

/// Which weights of a file that holds several sets of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointPart<'a> {
    /// The network: the only set, the one under the first of the usual keys that is there
    /// (`state_dict`, `model`, `generator`, ...), or the first entry of ddim's list
    /// `[model, optimiser, epoch, step, ema]`.
    #[default]
    Model,
    /// The moving average: the set under one of its usual keys (`ema`, `params_ema`, ...), or the
    /// last entry of ddim's list.
    Ema,
    /// The set under these keys, joined by dots. Behind them may stand what the names of its
    /// tensors begin with, which they lose.
    Key(&'a str),
    /// Every set of the top level, the names of its tensors behind its key and a dot: networks of
    /// several parts are kept so.
    All,
}

/// Weights, and what lies beside them in their file.
#[derive(Debug)]
pub struct Checkpoint {
    /// The weights.
    pub weights: WeightFile,
    /// The key under which they lie; empty where the file is the weights.
    pub key: String,
    /// What is left aside.
    pub left_aside: Vec<Entry>,
}

/// Reads a weight file of any known format. Keys lose a leading `module.` or `_orig_mod.`; the
/// error names the file.
pub fn read_weights(path: &Path, part: CheckpointPart) -> Result<WeightFile> {
    Ok(read_checkpoint(path, part)?.weights)
}

/// As [`read_weights`], with what lies beside the weights.
pub fn read_checkpoint(path: &Path, part: CheckpointPart) -> Result<Checkpoint> {
    parse_checkpoint(&file_bytes(path)?, part).with_context(|| unusable(path))
}

/// The bytes of a weight file, which may be of any size.
fn file_bytes(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        bail!("{} is a folder: name a file in it", path.display());
    }
    read_bounded(path, u64::MAX)
}

fn unusable(path: &Path) -> String {
    format!("{} is not a usable weight file", path.display())
}

/// Reads the bytes of a weight file as [`read_weights`] does; errors name no file.
pub fn parse_weights(bytes: &[u8], part: CheckpointPart) -> Result<WeightFile> {
    Ok(parse_checkpoint(bytes, part)?.weights)
}

/// Reads the bytes of a weight file as [`read_checkpoint`] does; errors name no file.
pub fn parse_checkpoint(bytes: &[u8], part: CheckpointPart) -> Result<Checkpoint> {
    let mut opened = match file_kind::format(bytes)? {
        Format::Safetensors => return select_in_safetensors(parse_safetensors(bytes)?, part),
        Format::Zip => Pickled::open_archive(bytes)?,
        Format::Legacy => Pickled::open_legacy(bytes)?,
    };
    let selection = select(&opened.pickle, part)?;
    let views = named_views(&opened.pickle, &selection)?;
    let (key, left_aside) = (selection.key(), left_aside(&opened.pickle, &selection));
    let storages = &mut opened.storages;
    let tensors = make_tensors(&opened.pickle, &views, |storage| storages.bytes(storage))?;
    let metadata = BTreeMap::new();
    Ok(Checkpoint {
        weights: WeightFile { tensors, metadata },
        key,
        left_aside,
    })
}

/// A file of PyTorch's.
struct Pickled<'a> {
    pickle: Pickle,
    storages: Storages<'a>,
}

enum Storages<'a> {
    Archive(Archive<'a>),
    Legacy(legacy::Storages<'a>),
}

impl<'a> Pickled<'a> {
    fn open_archive(bytes: &'a [u8]) -> Result<Self> {
        let (pickle, archive) = archive::open(bytes)?;
        let storages = Storages::Archive(archive);
        Ok(Self { pickle, storages })
    }

    fn open_legacy(bytes: &'a [u8]) -> Result<Self> {
        let (pickle, storages) = legacy::open(bytes)?;
        let storages = Storages::Legacy(storages);
        Ok(Self { pickle, storages })
    }
}

impl<'a> Storages<'a> {
    /// The bytes of a storage.
    fn bytes(&mut self, storage: &Storage) -> Result<Cow<'a, [u8]>> {
        match self {
            Self::Archive(archive) => Ok(Cow::Owned(archive.storage(storage)?)),
            Self::Legacy(storages) => {
                let bytes = storages.get(&*storage.key).copied();
                let bytes = bytes.with_context(|| format!("storage {} is missing", storage.key))?;
                Ok(Cow::Borrowed(bytes))
            }
        }
    }
}

/// The part of a safetensors file, which holds one set of weights: all of it, or those whose names
/// begin with a key.
fn select_in_safetensors(file: WeightFile, part: CheckpointPart) -> Result<Checkpoint> {
    ensure!(!file.tensors.is_empty(), "it holds no weights");
    let prefix = match part {
        CheckpointPart::Model | CheckpointPart::All => String::new(),
        CheckpointPart::Ema => {
            bail!("a safetensors file holds one set of weights, there is no EMA to choose")
        }
        CheckpointPart::Key(key) => format!("{key}."),
    };
    let (mut tensors, mut left_aside) = (BTreeMap::new(), Vec::new());
    for (name, tensor) in &file.tensors {
        match name.strip_prefix(&prefix) {
            Some(own) => {
                tensors.insert(own.to_string(), tensor.shallow_clone());
            }
            None => left_aside.push(Entry {
                key: name.clone(),
                what: format!("a tensor {:?}", tensor.size()),
            }),
        }
    }
    let key = prefix.trim_end_matches('.').to_string();
    if tensors.is_empty() {
        let starts: Vec<&str> = file
            .tensors
            .keys()
            .filter_map(|name| Some(name.split_once('.')?.0))
            .collect();
        bail!(
            "no tensor's name begins with {prefix:?}{}",
            offer(&key, starts.into_iter())
        );
    }
    let metadata = file.metadata;
    Ok(Checkpoint {
        weights: WeightFile { tensors, metadata },
        key,
        left_aside,
    })
}

/// Turns 16-bit, 8-bit and double entries into float32; other kinds stay.
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
