//! What a file holds, in words.

use super::pickle::{Global, Pickle, Value};
use egsde_data::text::first_few;
use serde::Serialize;

/// Entries of a dictionary or list that are listed in an error.
const LISTED: usize = 12;

/// Characters of a text that are shown.
const SHOWN: usize = 40;

/// Levels of dictionaries that are shown within each other.
const LEVELS: usize = 4;

/// Most lines of an outline.
const LINES: usize = 200;

/// One entry of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Keys that lead to it, joined by dots.
    pub key: String,
    /// What it is.
    pub what: String,
}

/// The name of an object's class, or what it is for people.
fn describe_object(class: &str) -> String {
    let what = match class {
        "_codecs.encode" => "bytes",
        "torch._utils._rebuild_sparse_tensor" => "a sparse tensor",
        "torch._utils._rebuild_qtensor" => "a quantised tensor",
        "torch._utils._rebuild_nested_tensor" => "a nested tensor",
        "torch._utils._rebuild_meta_tensor_no_storage" => "a tensor without numbers",
        "torch.serialization._get_layout" => "a layout of tensors",
        class if class.starts_with("numpy.") && class.ends_with("scalar") => "a number of NumPy's",
        class if class.starts_with("numpy.") => "a value of NumPy's",
        class => class,
    };
    what.into()
}

/// How many entries of a dictionary are tensors under a name.
pub(super) fn count_tensors(pairs: &[(Value, Value)]) -> usize {
    let is_named = |pair: &&(Value, Value)| matches!(pair, (Value::Text(_), Value::Tensor(_)));
    pairs.iter().filter(is_named).count()
}

/// Whether a dictionary is the state of one of PyTorch's optimisers.
pub(super) fn is_optimizer(pairs: &[(Value, Value)]) -> bool {
    ["state", "param_groups"]
        .iter()
        .all(|key| find(pairs, key).is_some())
}

/// The value under a text.
pub(super) fn find<'a>(pairs: &'a [(Value, Value)], key: &str) -> Option<&'a Value> {
    let pair = pairs
        .iter()
        .find(|(known, _)| matches!(known, Value::Text(text) if &**text == key));
    pair.map(|(_, value)| value)
}

fn describe_pairs(pairs: &[(Value, Value)]) -> String {
    if is_optimizer(pairs) {
        return "the state of an optimiser".into();
    }
    match (count_tensors(pairs), pairs.len()) {
        (0, 0) => "an empty dictionary".into(),
        (0, entries) => format!("a dictionary of {entries}"),
        (1, 1) => "1 tensor".into(),
        (tensors, entries) if tensors == entries => format!("{tensors} tensors"),
        (tensors, entries) => format!("{tensors} tensors and {} more", entries - tensors),
    }
}

/// A value in a few words.
pub(super) fn describe(pickle: &Pickle, value: &Value) -> String {
    if let Some(pairs) = pickle.pairs(value) {
        return describe_pairs(pairs);
    }
    if let Some(items) = pickle.items(value) {
        let what = match value {
            Value::Set(_) => "set",
            Value::Tuple(_) => "tuple",
            _ => "list",
        };
        return format!("a {what} of {}", items.len());
    }
    match value {
        Value::None => "None".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) if text.chars().count() > SHOWN => {
            let start: String = text.chars().take(SHOWN).collect();
            format!("{start:?}...")
        }
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Long(_) => "a large number".into(),
        Value::Global(Global::Dtype(element)) => format!("torch.{}", element.name()),
        Value::Global(Global::Plain(name)) => (*name).into(),
        Value::Global(_) => "a type".into(),
        Value::Foreign(name) => name.to_string(),
        Value::Object(class) => describe_object(class),
        Value::Storage(_) => "a storage".into(),
        Value::Tensor(view) => format!("a tensor {} {:?}", view.element.name(), view.size),
        Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Dict(_) | Value::Mark => {
            "nothing that is known".into()
        }
    }
}

/// A dictionary's key, as `--key` takes it.
pub(super) fn key_text(key: &Value) -> Option<String> {
    match key {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Keys and values of a dictionary, or positions and values of a list.
pub(super) fn children<'a>(pickle: &'a Pickle, value: &Value) -> Vec<(String, &'a Value)> {
    let mut children = Vec::new();
    for (key, value) in pickle.pairs(value).unwrap_or_default() {
        if let Some(key) = key_text(key) {
            children.push((key, value));
        }
    }
    if let Some(items) = pickle.items(value) {
        for (index, item) in items.iter().enumerate() {
            children.push((index.to_string(), item));
        }
    }
    children
}

/// What a dictionary or list holds, in one line.
pub(super) fn list_entries(pickle: &Pickle, value: &Value) -> String {
    let children = children(pickle, value);
    if children.is_empty() {
        return describe(pickle, value);
    }
    let entries = children
        .iter()
        .map(|(key, value)| format!("{key} ({})", describe(pickle, value)));
    first_few(entries, LISTED)
}

/// The dictionaries and lists of a file within each other; a dictionary of tensors is one line.
pub(super) fn outline(pickle: &Pickle) -> Vec<Entry> {
    let mut lines = Vec::new();
    add_lines(pickle, &pickle.top, "", LEVELS, &mut lines);
    lines
}

fn add_lines(pickle: &Pickle, value: &Value, at: &str, levels: usize, lines: &mut Vec<Entry>) {
    let is_opened = match pickle.pairs(value) {
        Some(pairs) => !is_optimizer(pairs) && count_tensors(pairs) < pairs.len(),
        None => at.is_empty(),
    };
    if levels == 0 || !is_opened {
        return;
    }
    for (key, value) in children(pickle, value) {
        if matches!(value, Value::Tensor(_)) {
            continue;
        }
        if lines.len() >= LINES {
            return;
        }
        let key = match at {
            "" => key,
            at => format!("{at}.{key}"),
        };
        lines.push(Entry {
            key: key.clone(),
            what: describe(pickle, value),
        });
        add_lines(pickle, value, &key, levels - 1, lines);
    }
}
