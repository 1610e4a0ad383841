//! Looking into keys and shapes of weights, and what is guessed from them.

use serde_json::Value;
use std::collections::BTreeMap;

/// More blocks than any network has in one list.
const MOST_BLOCKS: usize = 100;

/// Shapes of weights by their keys.
pub type Shapes = BTreeMap<String, Vec<i64>>;

/// One size of a tensor.
pub(super) fn size(shapes: &Shapes, key: &str, dimension: usize) -> Option<i64> {
    shapes.get(key)?.get(dimension).copied()
}

/// The numbers that follow a prefix in the keys, such as `0`, `1`, `2` of `input_blocks.`.
pub(super) fn indices(shapes: &Shapes, prefix: &str) -> usize {
    let numbers = shapes.keys().filter_map(|key| {
        let (number, _) = key.strip_prefix(prefix)?.split_once('.')?;
        number.parse::<usize>().ok()
    });
    numbers.max().map_or(0, |last| last + 1).min(MOST_BLOCKS)
}

pub(super) fn has_prefix(shapes: &Shapes, prefix: &str) -> bool {
    shapes.keys().any(|key| key.starts_with(prefix))
}

/// A configuration as JSON, with what was assumed.
pub(super) struct Guess {
    pub config: Value,
    pub assumed: Vec<(&'static str, String)>,
}
