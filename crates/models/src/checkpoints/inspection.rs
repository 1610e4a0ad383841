//! A look into a weight file: what it holds, and its tensors without their numbers.

use super::contents::outline;
use super::file_kind::{self, Format};
use super::selection::{left_aside, select};
use super::state_dict::named_views;
use super::{CheckpointPart, Entry, Pickled, file_bytes, select_in_safetensors, unusable};
use crate::weights::{element_from_dtype, parse_safetensors};
use anyhow::{Context, Result};
use safetensors::SafeTensors;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One tensor without its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Its sizes.
    pub shape: Vec<i64>,
    /// Type of its numbers, as PyTorch names it.
    pub kind: String,
}

impl TensorInfo {
    /// How many numbers it holds.
    pub fn count(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// What a weight file holds.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The file's format, for people.
    pub format: &'static str,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Dictionaries and lists within each other, and plain values; tensors are counted only.
    pub outline: Vec<Entry>,
    /// The key of the weights that are read; empty where the file is the weights.
    pub key: String,
    /// What is left aside.
    pub left_aside: Vec<Entry>,
    /// Tensors of the weights by their names.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Texts that the file carries; only safetensors files have any.
    pub metadata: BTreeMap<String, String>,
    /// Why no weights are chosen, where the file holds several sets of which none is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Looks into a weight file.
///
/// # Errors
/// The file cannot be read as one of weights; the error names it. A file in which no weights are
/// found is no error, see [`Inspection::problem`].
pub fn inspect(path: &Path, part: CheckpointPart) -> Result<Inspection> {
    inspect_bytes(&file_bytes(path)?, part).with_context(|| unusable(path))
}

/// As [`inspect`]; errors name no file.
pub fn inspect_bytes(bytes: &[u8], part: CheckpointPart) -> Result<Inspection> {
    let size = bytes.len() as u64;
    match file_kind::format(bytes)? {
        Format::Safetensors => inspect_safetensors(bytes, part),
        Format::Zip => {
            let opened = Pickled::open_archive(bytes)?;
            inspect_pickled(&opened, "PyTorch (zip)", size, part)
        }
        Format::Legacy => {
            let opened = Pickled::open_legacy(bytes)?;
            inspect_pickled(&opened, "PyTorch (before version 1.6)", size, part)
        }
    }
}

fn inspect_safetensors(bytes: &[u8], part: CheckpointPart) -> Result<Inspection> {
    let checkpoint = select_in_safetensors(parse_safetensors(bytes)?, part)?;
    // Numbers without sign become wider ones when they are read; here stands what the file has.
    let stored = SafeTensors::deserialize(bytes)?;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in &checkpoint.weights.tensors {
        let in_file = match checkpoint.key.as_str() {
            "" => name.clone(),
            key => format!("{key}.{name}"),
        };
        let element = element_from_dtype(stored.tensor(&in_file)?.dtype())?;
        let info = TensorInfo {
            shape: tensor.size(),
            kind: element.name().into(),
        };
        tensors.insert(name.clone(), info);
    }
    Ok(Inspection {
        format: "safetensors",
        bytes: bytes.len() as u64,
        outline: Vec::new(),
        key: checkpoint.key,
        left_aside: checkpoint.left_aside,
        tensors,
        metadata: checkpoint.weights.metadata,
        problem: None,
    })
}

fn inspect_pickled(
    opened: &Pickled,
    format: &'static str,
    bytes: u64,
    part: CheckpointPart,
) -> Result<Inspection> {
    let pickle = &opened.pickle;
    let mut inspection = Inspection {
        format,
        bytes,
        outline: outline(pickle),
        key: String::new(),
        left_aside: Vec::new(),
        tensors: BTreeMap::new(),
        metadata: BTreeMap::new(),
        problem: None,
    };
    let selection = match (select(pickle, part), part) {
        (Ok(selection), _) => selection,
        (Err(error), CheckpointPart::Model) => {
            inspection.problem = Some(error.to_string());
            return Ok(inspection);
        }
        (Err(error), _) => return Err(error),
    };
    for (name, view) in named_views(pickle, &selection)? {
        let info = TensorInfo {
            shape: view.size.clone(),
            kind: view.element.name().into(),
        };
        inspection.tensors.insert(name, info);
    }
    inspection.key = selection.key();
    inspection.left_aside = left_aside(pickle, &selection);
    Ok(inspection)
}
