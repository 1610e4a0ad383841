//! The search for weights through the dictionaries of a checkpoint.

use super::contents::{
    children, count_tensors, describe, find, is_optimizer, key_text, list_entries,
};
use super::pickle::{Pickle, Value};
use anyhow::{Result, bail};
use egsde_data::nearest::offer;
use std::collections::HashMap;

/// Keys under which people keep the weights of a network, the first that is there counts.
const MODEL_KEYS: [&str; 27] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "generator",
    "netG",
    "G",
    "g",
    "unet",
    "diffusion",
    "diffusion_model",
    "denoiser",
    "score_model",
    "params",
    "weights",
    "model_state",
    "model_dict",
    "net_state_dict",
    "network_state_dict",
    "generator_state_dict",
    "netG_state_dict",
    "G_state_dict",
    "model_weights",
    "classifier",
    "shadow",
];

/// Keys under which people keep the moving average of the weights.
const EMA_KEYS: [&str; 24] = [
    "ema",
    "params_ema",
    "model_ema",
    "ema_model",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model_state_dict",
    "model_state_dict_ema",
    "g_ema",
    "G_ema",
    "netG_ema",
    "generator_ema",
    "ema_generator",
    "net_ema",
    "ema_net",
    "unet_ema",
    "ema_unet",
    "ema_params",
    "ema_weights",
    "ema_shadow",
    "EMA",
    "averaged_model",
    "model_averaged",
];

/// Positions of the weights and their moving average in ddim's list.
const DDIM_MODEL: usize = 0;
const DDIM_EMA: usize = 4;

/// Dictionaries within each other that are searched.
const LEVELS: usize = 6;

/// The entries of a checkpoint that are its weights.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    /// The dictionary.
    pub pairs: &'a [(Value, Value)],
    /// Whether the dictionary holds dictionaries of tensors, whose keys lead their names.
    pub grouped: bool,
    /// What the names of its tensors that count begin with, a dot behind it; empty for all.
    pub prefix: String,
    /// Keys that lead to the dictionary.
    pub path: Vec<String>,
}

impl Selection<'_> {
    /// How `--key` names it; empty for the whole file.
    pub fn key(&self) -> String {
        let mut parts = self.path.clone();
        if !self.prefix.is_empty() {
            parts.push(self.prefix.trim_end_matches('.').into());
        }
        parts.join(".")
    }
}

/// Why no weights were found.
pub(super) fn no_weights(pickle: &Pickle, value: &Value) -> String {
    let entries = list_entries(pickle, value);
    match (pickle.pairs(value), pickle.items(value)) {
        (Some([]), _) => "it holds no weights: it is an empty dictionary".into(),
        (Some(pairs), _) if is_optimizer(pairs) => {
            "it holds the state of an optimiser, not weights".into()
        }
        (None, None) => format!(
            "it holds {}, not a dictionary of weights",
            describe(pickle, value)
        ),
        _ => {
            format!("it holds no weights under the usual keys; inside: {entries}; choose by --key")
        }
    }
}

/// The search through one checkpoint.
pub(super) struct Search<'a> {
    pickle: &'a Pickle,
    /// Where weights lie in a dictionary, by its index and the levels that are left: a hostile file
    /// may hold one dictionary in many places.
    found: HashMap<(usize, usize), Option<Vec<String>>>,
    /// Where moving averages lie in a dictionary, under the same keys.
    averages: HashMap<(usize, usize), Option<Vec<String>>>,
}

impl<'a> Search<'a> {
    pub fn new(pickle: &'a Pickle) -> Self {
        Self {
            pickle,
            found: HashMap::new(),
            averages: HashMap::new(),
        }
    }

    /// The weights of the whole file.
    pub fn weights(&mut self) -> Option<Selection<'a>> {
        let path = self.weights_in(&self.pickle.top, LEVELS)?;
        Some(self.selection(path))
    }

    /// The moving average of the whole file.
    pub fn average(&mut self) -> Option<Selection<'a>> {
        let path = self.average_in(&self.pickle.top, LEVELS)?;
        Some(self.selection(path))
    }

    /// The value at a path that was found.
    fn at(&self, path: &[String]) -> &'a Value {
        let mut value = &self.pickle.top;
        for key in path {
            let children = children(self.pickle, value);
            let child = children.into_iter().find(|(known, _)| known == key);
            value = child.map_or(value, |(_, value)| value);
        }
        value
    }

    pub fn selection(&self, path: Vec<String>) -> Selection<'a> {
        Selection {
            pairs: self.pickle.pairs(self.at(&path)).unwrap_or_default(),
            grouped: false,
            prefix: String::new(),
            path,
        }
    }

    /// Keys that lead from a value to the one dictionary of weights in it.
    fn weights_in(&mut self, value: &'a Value, levels: usize) -> Option<Vec<String>> {
        let index = match value {
            Value::Dict(index) | Value::List(index) | Value::Tuple(index) => *index,
            _ => return None,
        };
        if levels == 0 {
            return None;
        }
        if let Some(known) = self.found.get(&(index, levels)) {
            return known.clone();
        }
        // An entry of none marks a search under way, so that a dictionary that holds itself ends
        // it.
        self.found.insert((index, levels), None);
        let path = match self.pickle.pairs(value) {
            Some(pairs) => self.weights_in_pairs(pairs, levels),
            None => self.item_at(value, DDIM_MODEL, levels),
        };
        self.found.insert((index, levels), path.clone());
        path
    }

    fn weights_in_pairs(
        &mut self,
        pairs: &'a [(Value, Value)],
        levels: usize,
    ) -> Option<Vec<String>> {
        if is_optimizer(pairs) {
            return None;
        }
        if let Some(path) = self.under_keys(pairs, &MODEL_KEYS, levels) {
            return Some(path);
        }
        if count_tensors(pairs) > 0 {
            return Some(Vec::new());
        }
        self.only_one(pairs, levels)
    }

    /// The weights under the first of these keys that has any.
    fn under_keys(
        &mut self,
        pairs: &'a [(Value, Value)],
        keys: &[&str],
        levels: usize,
    ) -> Option<Vec<String>> {
        for key in keys {
            let Some(value @ Value::Dict(_)) = find(pairs, key) else {
                continue;
            };
            if let Some(path) = self.weights_in(value, levels - 1) {
                return Some(prepend(key, path));
            }
        }
        None
    }

    /// The weights in the one dictionary that has any; moving averages count where nothing else
    /// does.
    fn only_one(&mut self, pairs: &'a [(Value, Value)], levels: usize) -> Option<Vec<String>> {
        let mut found = Vec::new();
        for (key, value) in pairs {
            let (Some(key), Value::Dict(_)) = (key_text(key), value) else {
                continue;
            };
            if let Some(path) = self.weights_in(value, levels - 1) {
                found.push(prepend(&key, path));
            }
        }
        if found.len() > 1 {
            found.retain(|path| !EMA_KEYS.contains(&path[0].as_str()));
        }
        match found.len() {
            1 => found.pop(),
            _ => None,
        }
    }

    /// The weights at a position of ddim's list.
    fn item_at(&mut self, list: &Value, index: usize, levels: usize) -> Option<Vec<String>> {
        let item = self.pickle.items(list)?.get(index)?;
        let path = self.weights_in(item, levels - 1)?;
        Some(prepend(&index.to_string(), path))
    }

    /// Keys that lead to a moving average: at the fifth position of ddim's list, or under one of
    /// the usual keys, which may lie beside the weights or within what holds them.
    fn average_in(&mut self, value: &'a Value, levels: usize) -> Option<Vec<String>> {
        let index = match value {
            Value::Dict(index) | Value::List(index) | Value::Tuple(index) => *index,
            _ => return None,
        };
        if levels == 0 {
            return None;
        }
        if let Some(known) = self.averages.get(&(index, levels)) {
            return known.clone();
        }
        self.averages.insert((index, levels), None);
        let path = match self.pickle.pairs(value) {
            Some(pairs) => self.average_in_pairs(pairs, levels),
            None => self.item_at(value, DDIM_EMA, levels),
        };
        self.averages.insert((index, levels), path.clone());
        path
    }

    fn average_in_pairs(
        &mut self,
        pairs: &'a [(Value, Value)],
        levels: usize,
    ) -> Option<Vec<String>> {
        if let Some(path) = self.under_keys(pairs, &EMA_KEYS, levels) {
            return Some(path);
        }
        for key in MODEL_KEYS {
            let Some(value @ Value::Dict(_)) = find(pairs, key) else {
                continue;
            };
            if let Some(path) = self.average_in(value, levels - 1) {
                return Some(prepend(key, path));
            }
        }
        None
    }

    /// What the user names: keys joined by dots, and behind them what the tensors' names begin
    /// with.
    pub fn named(&mut self, key: &str) -> Result<Selection<'a>> {
        let top = &self.pickle.top;
        if let Some((path, prefix)) = self.resolve(top, key) {
            return self.named_at(key, path, prefix);
        }
        // The prefix may stand by itself, of the weights that are found without it.
        let dotted = format!("{key}.");
        if let Some(path) = self.weights_in(top, LEVELS) {
            let selection = self.selection(path);
            if has_prefix(selection.pairs, &dotted) {
                return Ok(Selection {
                    prefix: dotted,
                    ..selection
                });
            }
        }
        let children = children(self.pickle, top);
        let names = children.iter().map(|(name, _)| name.as_str());
        bail!(
            "there is no {key:?} in it{}; inside: {}",
            offer(key, names),
            list_entries(self.pickle, top)
        )
    }

    /// The weights at what the user names.
    fn named_at(&mut self, key: &str, path: Vec<String>, prefix: String) -> Result<Selection<'a>> {
        if !prefix.is_empty() {
            return Ok(Selection {
                prefix,
                ..self.selection(path)
            });
        }
        let value = self.at(&path);
        let pairs = self.pickle.pairs(value).unwrap_or_default();
        if count_tensors(pairs) > 0 {
            return Ok(self.selection(path));
        }
        match self.weights_in(value, LEVELS) {
            Some(inner) => Ok(self.selection([path, inner].concat())),
            None => bail!("{key}: {}", no_weights(self.pickle, value)),
        }
    }

    /// The keys and the prefix that a dotted key stands for. Keys may have dots of their own.
    fn resolve(&self, value: &'a Value, key: &str) -> Option<(Vec<String>, String)> {
        let children = children(self.pickle, value);
        if children.iter().any(|(known, _)| known == key) {
            return Some((vec![key.into()], String::new()));
        }
        for (known, child) in children {
            let rest = key.strip_prefix(&known);
            if let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.'))
                && let Some((path, prefix)) = self.resolve(child, rest)
            {
                return Some((prepend(&known, path), prefix));
            }
        }
        let dotted = format!("{key}.");
        let pairs = self.pickle.pairs(value).unwrap_or_default();
        has_prefix(pairs, &dotted).then(|| (Vec::new(), dotted))
    }
}

fn prepend(key: &str, path: Vec<String>) -> Vec<String> {
    let mut whole = vec![key.to_string()];
    whole.extend(path);
    whole
}

/// Whether a tensor's name begins so.
fn has_prefix(pairs: &[(Value, Value)], prefix: &str) -> bool {
    pairs.iter().any(|(key, value)| match (key, value) {
        (Value::Text(name), Value::Tensor(_)) => name.starts_with(prefix),
        _ => false,
    })
}
