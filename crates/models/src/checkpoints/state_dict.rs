//! The tensors of a dictionary of weights.

use super::pickle::{Pickle, Storage, TensorView, Value};
use super::search::Selection;
use crate::elements::Element;
use anyhow::{Context, Result, ensure};
use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use tch::Tensor;

/// Different views of a storage unfold into at most this many times the numbers that are stored,
/// beside [`FREE_ELEMENTS`].
const VIEWS_PER_STORAGE: i64 = 4;

/// The same of one view under many names, which costs memory only where the file is written.
const NAMES_PER_STORAGE: i64 = 64;

/// Numbers that small repeated views may unfold into.
const FREE_ELEMENTS: i64 = 1 << 20;

/// Prefixes that wrappers of networks give every key: `DataParallel`, `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Views by the names of their tensors.
pub(super) type Views = BTreeMap<String, Rc<TensorView>>;

/// The name of a tensor without what wrappers put in front.
fn unwrapped(name: &str) -> &str {
    let mut name = name;
    while let Some(inner) = WRAPPERS
        .iter()
        .find_map(|wrapper| name.strip_prefix(wrapper))
    {
        name = inner;
    }
    name
}

/// The views of a selection by their names.
///
/// # Errors
/// Two entries end up under one name, or there is none.
pub(super) fn named_views(pickle: &Pickle, selection: &Selection) -> Result<Views> {
    let mut views = Views::new();
    if !selection.grouped {
        add_views(selection.pairs, &selection.prefix, "", &mut views)?;
    }
    for (key, value) in selection.pairs {
        if let (true, Value::Text(key), Some(pairs)) = (selection.grouped, key, pickle.pairs(value))
        {
            add_views(pairs, "", &format!("{key}."), &mut views)?;
        }
    }
    ensure!(!views.is_empty(), "it holds no weights");
    Ok(views)
}

/// Adds the views of a dictionary whose names begin with `prefix`, which they lose; `group` takes
/// its place.
fn add_views(pairs: &[(Value, Value)], prefix: &str, group: &str, views: &mut Views) -> Result<()> {
    for (key, value) in pairs {
        let (Value::Text(key), Value::Tensor(view)) = (key, value) else {
            continue;
        };
        let Some(name) = key.strip_prefix(prefix) else {
            continue;
        };
        let name = format!("{group}{}", unwrapped(name));
        ensure!(
            views.insert(name.clone(), view.clone()).is_none(),
            "{name} stands twice"
        );
    }
    Ok(())
}

/// Makes the tensors of views. `load` gives a storage's bytes; it is called at most once per
/// storage.
///
/// # Errors
/// A view that reaches outside its storage, or views that unfold into far more than is stored.
pub(super) fn make_tensors<'a>(
    pickle: &Pickle,
    views: &Views,
    load: impl FnMut(&Storage) -> Result<Cow<'a, [u8]>>,
) -> Result<BTreeMap<String, Tensor>> {
    let mut maker = Maker {
        pickle,
        load,
        storages: HashMap::new(),
        made: HashMap::new(),
        stored: 0,
        unfolded: 0,
        named: 0,
    };
    let mut tensors = BTreeMap::new();
    for (name, view) in views {
        let tensor = maker.tensor(view).with_context(|| name.clone())?;
        tensors.insert(name.clone(), tensor);
    }
    Ok(tensors)
}

struct Maker<'p, F> {
    pickle: &'p Pickle,
    load: F,
    /// Storages as flat tensors of a type.
    storages: HashMap<(usize, Element), Tensor>,
    /// What became of each view: tied weights are one view under several names.
    made: HashMap<Rc<TensorView>, Tensor>,
    /// Elements of all storages read.
    stored: i64,
    /// Elements of all tensors made, and of all tensors by name.
    unfolded: i64,
    named: i64,
}

impl<'a, F: FnMut(&Storage) -> Result<Cow<'a, [u8]>>> Maker<'_, F> {
    fn tensor(&mut self, view: &Rc<TensorView>) -> Result<Tensor> {
        let count = element_count(view)?;
        if !self.made.contains_key(view) {
            let storage = self.storage(view)?;
            self.unfolded = self.unfolded.saturating_add(count);
            self.check_bound(self.unfolded, VIEWS_PER_STORAGE)?;
            let tensor = materialise(&storage, view, count)?;
            self.made.insert(view.clone(), tensor);
        }
        self.named = self.named.saturating_add(count);
        self.check_bound(self.named, NAMES_PER_STORAGE)?;
        Ok(self.made[view].shallow_clone())
    }

    /// Many views of one large storage must not unfold into far more memory than the file has.
    fn check_bound(&self, elements: i64, times: i64) -> Result<()> {
        let bound = self
            .stored
            .saturating_mul(times)
            .saturating_add(FREE_ELEMENTS);
        ensure!(
            elements <= bound,
            "its views unfold into {elements} elements, its storages hold {}",
            self.stored
        );
        Ok(())
    }

    /// A view's storage as a flat tensor of the view's type.
    fn storage(&mut self, view: &TensorView) -> Result<Tensor> {
        match self.storages.entry((view.storage, view.element)) {
            Entry::Occupied(known) => Ok(known.get().shallow_clone()),
            Entry::Vacant(vacant) => {
                let storage = &self.pickle.storages[view.storage];
                let bytes = (self.load)(storage)?;
                let flat = storage_tensor(storage, view.element, &bytes)?;
                self.stored += flat.numel() as i64;
                Ok(vacant.insert(flat).shallow_clone())
            }
        }
    }
}

/// A storage's bytes as a flat tensor of a type. Errors where they are not as many as the pickle
/// states.
fn storage_tensor(storage: &Storage, element: Element, bytes: &[u8]) -> Result<Tensor> {
    let Storage { key, count, .. } = storage;
    ensure!(
        storage.size_in_bytes() == Some(bytes.len()),
        "storage {key} has {} bytes, {count} elements were stated",
        bytes.len()
    );
    let count = bytes.len() / element.size();
    element.tensor(&bytes[..count * element.size()], &[count as i64])
}

/// Elements of a view. Errors where its sizes fit no tensor.
fn element_count(view: &TensorView) -> Result<i64> {
    let (dimensions, strides) = (view.size.len(), view.stride.len());
    ensure!(
        dimensions == strides,
        "{dimensions} sizes, {strides} strides"
    );
    let count = view
        .size
        .iter()
        .try_fold(1i64, |product, size| product.checked_mul(*size));
    count.context("a size that overflows")
}

/// A contiguous copy of a view of `count` elements. Errors where the view reaches outside its
/// storage.
fn materialise(storage: &Tensor, view: &TensorView, count: i64) -> Result<Tensor> {
    let elements = storage.numel() as i64;
    let inside = last_element(view).is_some_and(|last| (0..elements).contains(&last));
    ensure!(
        count == 0 || inside,
        "a view reaches outside its storage of {elements}"
    );
    if count == 0 {
        return Ok(Tensor::f_zeros(
            view.size.as_slice(),
            (storage.kind(), storage.device()),
        )?);
    }
    let (size, stride) = (view.size.as_slice(), view.stride.as_slice());
    Ok(storage
        .f_as_strided(size, stride, view.offset as i64)?
        .contiguous())
}

/// The index of a view's last element in its storage; `None` where it overflows.
fn last_element(view: &TensorView) -> Option<i64> {
    let mut last = i64::try_from(view.offset).ok()?;
    for (size, stride) in view.size.iter().zip(&view.stride) {
        last = last.checked_add((size - 1).max(0).checked_mul(*stride)?)?;
    }
    Some(last)
}
