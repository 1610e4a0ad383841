//! The dictionary of weights inside a pickle, and its tensors.

use super::CheckpointPart;
use super::pickle::{Container, Pickle, Storage, TensorView, Value};
use crate::weights::WeightFile;
use anyhow::{Context, Result, bail, ensure};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use tch::Tensor;

/// Weights may share a storage, but together they hold at most this many times the elements that
/// their storages do.
const VIEWS_PER_STORAGE: i64 = 4;

/// The index of the moving average in ddim's list.
const EMA_INDEX: usize = 4;

/// Makes the tensors of a part of a checkpoint. `load` gives a storage as a flat tensor; it is
/// called at most once per storage.
pub(super) fn collect(
    pickle: &Pickle,
    part: CheckpointPart,
    mut load: impl FnMut(&Storage) -> Result<Tensor>,
) -> Result<WeightFile> {
    let mut storages: HashMap<usize, Tensor> = HashMap::new();
    let mut tensors = BTreeMap::new();
    let (mut stored, mut copied) = (0, 0);
    for (key, value) in entries(pickle, part)? {
        let Value::Tensor(view) = value else {
            bail!("{key} is no tensor")
        };
        let storage = match storages.entry(view.storage) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let storage = load(&pickle.storages[view.storage])?;
                stored += storage.numel() as i64;
                vacant.insert(storage)
            }
        };
        // Many names of one large storage must not unfold into far more memory than the file has.
        let elements = view
            .size
            .iter()
            .fold(1i64, |product, size| product.saturating_mul(*size));
        copied += elements.max(0).min(storage.numel() as i64);
        ensure!(
            copied <= stored.saturating_mul(VIEWS_PER_STORAGE),
            "its views unfold into {copied} elements, its storages hold {stored}"
        );
        let tensor = materialise(storage, view).with_context(|| key.clone())?;
        ensure!(
            tensors.insert(key.clone(), tensor).is_none(),
            "{key} stands twice"
        );
    }
    ensure!(!tensors.is_empty(), "it holds no weights");
    Ok(WeightFile {
        tensors,
        metadata: BTreeMap::new(),
    })
}

/// The entries of a part by their name. Where every entry is a dictionary itself (StarGAN v2's
/// `generator`, `mapping_network` and so on), names are `GROUP.KEY`.
fn entries(pickle: &Pickle, part: CheckpointPart) -> Result<Vec<(String, &Value)>> {
    let pairs = state_dict(pickle, part)?;
    let grouped = pairs
        .iter()
        .all(|(_, value)| matches!(value, Value::Dict(_)));
    let mut entries = Vec::new();
    for (key, value) in pairs {
        if grouped {
            let group = weight_name(key)?;
            for (key, value) in dictionary(pickle, value)? {
                entries.push((format!("{group}.{}", weight_name(key)?), value));
            }
        } else {
            entries.push((weight_name(key)?.to_string(), value));
        }
    }
    Ok(entries)
}

/// A name without the `module.` that PyTorch's parallel wrapper puts in front.
fn weight_name(key: &Value) -> Result<&str> {
    let Value::Text(key) = key else {
        bail!("a weight's name is {key:?}")
    };
    Ok(key.strip_prefix("module.").unwrap_or(key))
}

/// The pairs of name and tensor in what the file holds: a dictionary of them, a list with several
/// such dictionaries, or `{"state_dict": {...}}` as Lightning and others save.
fn state_dict(pickle: &Pickle, part: CheckpointPart) -> Result<&[(Value, Value)]> {
    let chosen = match (&pickle.top, part) {
        (Value::List(index) | Value::Tuple(index), _) => {
            list_entry(&pickle.containers[*index], part)?
        }
        (top, CheckpointPart::Model) => top,
        (_, CheckpointPart::Ema) => {
            bail!("this file holds one set of weights, there is no EMA to choose")
        }
    };
    let pairs = dictionary(pickle, chosen)?;
    match pairs.iter().find(is_state_dict) {
        Some((_, inner)) => dictionary(pickle, inner),
        None => Ok(pairs),
    }
}

fn is_state_dict((key, value): &&(Value, Value)) -> bool {
    *key == Value::Text("state_dict".into()) && matches!(value, Value::Dict(_))
}

/// The entry of ddim's list that holds a part.
fn list_entry(list: &Container, part: CheckpointPart) -> Result<&Value> {
    let Container::Items(items) = list else {
        bail!("expected a list")
    };
    let entry = match part {
        CheckpointPart::Model => items.first(),
        CheckpointPart::Ema => items.get(EMA_INDEX),
    };
    entry.with_context(|| format!("the list of {} entries holds no such weights", items.len()))
}

/// The pairs of a dictionary.
fn dictionary<'a>(pickle: &'a Pickle, value: &Value) -> Result<&'a [(Value, Value)]> {
    let Value::Dict(index) = value else {
        bail!("expected a dictionary of weights, found {value:?}");
    };
    match &pickle.containers[*index] {
        Container::Pairs(pairs) => Ok(pairs),
        Container::Items(_) => bail!("expected a dictionary of weights"),
    }
}

/// A contiguous copy of a view. Errors where the view reaches outside its storage.
fn materialise(storage: &Tensor, view: &TensorView) -> Result<Tensor> {
    let (dimensions, strides) = (view.size.len(), view.stride.len());
    ensure!(
        dimensions == strides,
        "{dimensions} sizes, {strides} strides"
    );
    let count = view
        .size
        .iter()
        .try_fold(1i64, |product, size| product.checked_mul(*size));
    let count = count.context("a size that overflows")?;
    let elements = storage.numel() as i64;
    let inside = last_element(view).is_some_and(|last| (0..elements).contains(&last));
    ensure!(
        count == 0 || inside,
        "a view reaches outside its storage of {elements}"
    );
    // An expanded view (stride 0) may hold more elements than its storage; no weight does.
    ensure!(
        count <= elements,
        "a view of {count} elements on a storage of {elements}"
    );
    let (size, stride) = (view.size.as_slice(), view.stride.as_slice());
    Ok(storage
        .f_as_strided(size, stride, view.offset as i64)?
        .contiguous())
}

/// The index of a view's last element in its storage; `None` where it overflows.
fn last_element(view: &TensorView) -> Option<i64> {
    let mut last = view.offset as i64;
    for (size, stride) in view.size.iter().zip(&view.stride) {
        last = last.checked_add((size - 1).max(0).checked_mul(*stride)?)?;
    }
    Some(last)
}
