//! Which dictionary of a checkpoint is the weights: found by the keys under which people keep them,
//! or named by the user.

use super::CheckpointPart;
use super::contents::{Entry, children, count_tensors, describe, key_text, list_entries};
use super::pickle::{Pickle, Value};
use super::search::{Search, Selection, no_weights};
use anyhow::{Result, bail, ensure};

/// Finds the weights.
///
/// # Errors
/// There are none, or several of which none is asked for; the error lists what is inside.
pub(super) fn select<'a>(pickle: &'a Pickle, part: CheckpointPart) -> Result<Selection<'a>> {
    let mut search = Search::new(pickle);
    let top = &pickle.top;
    match part {
        CheckpointPart::Model => match search.weights() {
            Some(selection) => Ok(selection),
            None => bail!(no_weights(pickle, top)),
        },
        CheckpointPart::Ema => match search.average() {
            Some(selection) => Ok(selection),
            None => bail!(
                "there is no EMA to choose; inside: {}",
                list_entries(pickle, top)
            ),
        },
        CheckpointPart::Key(key) => search.named(key),
        CheckpointPart::All => {
            let pairs = pickle.pairs(top).unwrap_or_default();
            let grouped = pairs.iter().any(|(_, value)| is_group(pickle, value));
            ensure!(grouped, no_weights(pickle, top));
            Ok(Selection {
                grouped,
                ..search.selection(Vec::new())
            })
        }
    }
}

/// Whether a value is a dictionary of tensors.
pub(super) fn is_group(pickle: &Pickle, value: &Value) -> bool {
    count_tensors(pickle.pairs(value).unwrap_or_default()) > 0
}

/// What lies beside the weights: the other entries on the way to them, and what is no tensor among
/// them.
pub(super) fn left_aside(pickle: &Pickle, selection: &Selection) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut value = &pickle.top;
    for (depth, taken) in selection.path.iter().enumerate() {
        let mut next = value;
        for (key, child) in children(pickle, value) {
            if key == *taken {
                next = child;
                continue;
            }
            let mut keys = selection.path[..depth].to_vec();
            keys.push(key);
            entries.push(Entry {
                key: keys.join("."),
                what: describe(pickle, child),
            });
        }
        value = next;
    }
    for (key, value) in selection.pairs {
        let name = key_text(key).unwrap_or_else(|| describe(pickle, key));
        let is_weight = match selection.grouped {
            true => is_group(pickle, value),
            false => matches!((key, value), (Value::Text(_), Value::Tensor(_))),
        };
        if !is_weight || !name.starts_with(&selection.prefix) {
            let mut keys = selection.path.clone();
            keys.push(name);
            entries.push(Entry {
                key: keys.join("."),
                what: describe(pickle, value),
            });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::super::pickle::read;
    use super::*;

    /// The operations that make a text.
    fn text(text: &str) -> Vec<u8> {
        [
            b"X",
            &(text.len() as u32).to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    }

    /// The operations that make a dictionary.
    fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = b"}".to_vec();
        for (key, value) in entries {
            bytes.extend([text(key), value.clone(), b"s".to_vec()].concat());
        }
        bytes
    }

    fn tensor() -> Vec<u8> {
        let storage = [
            &b"("[..],
            &text("storage"),
            b"ctorch\nFloatStorage\n",
            &text("0"),
            &text("cpu"),
            b"K\x01tQ",
        ];
        let call = b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
        [
            call,
            storage.concat(),
            b"K\x00K\x01\x85K\x01\x85\x89NtR".to_vec(),
        ]
        .concat()
    }

    fn weights() -> Vec<u8> {
        dict(&[("w", tensor())])
    }

    fn optimizer() -> Vec<u8> {
        dict(&[("state", dict(&[])), ("param_groups", b"]".to_vec())])
    }

    /// The key of the weights that are found.
    fn key(value: &[u8], part: CheckpointPart) -> Result<String> {
        let (pickle, _) = read(&[value, b"."].concat()).unwrap();
        Ok(select(&pickle, part)?.key())
    }

    fn refusal(value: &[u8], part: CheckpointPart) -> String {
        key(value, part).unwrap_err().to_string()
    }

    #[test]
    fn weights_are_found_under_the_usual_keys() {
        let step = b"K\x03".to_vec();
        for (value, want) in [
            (weights(), ""),
            (
                dict(&[("state_dict", weights()), ("step", step.clone())]),
                "state_dict",
            ),
            (
                dict(&[("optimizer", optimizer()), ("model", weights())]),
                "model",
            ),
            (dict(&[("model", weights()), ("ema", weights())]), "model"),
            (dict(&[("D", weights()), ("G", weights())]), "G"),
            (dict(&[("ema", weights()), ("epoch", step)]), "ema"),
            (dict(&[("mine", weights())]), "mine"),
            (dict(&[("mine", weights()), ("ema", weights())]), "mine"),
            (
                dict(&[(
                    "checkpoint",
                    dict(&[("model", dict(&[("state_dict", weights())]))]),
                )]),
                "checkpoint.model.state_dict",
            ),
            // A tensor beside it does not make the outer dictionary the weights.
            (dict(&[("mean", tensor()), ("model", weights())]), "model"),
        ] {
            assert_eq!(key(&value, CheckpointPart::Model).unwrap(), want);
        }
    }

    #[test]
    fn the_moving_average_is_found_under_its_keys() {
        let shadow = dict(&[("decay", b"K\x01".to_vec()), ("shadow", weights())]);
        for (value, want) in [
            (dict(&[("model", weights()), ("ema", weights())]), "ema"),
            (
                dict(&[("params", weights()), ("params_ema", weights())]),
                "params_ema",
            ),
            (
                dict(&[("model", weights()), ("model_ema", shadow)]),
                "model_ema.shadow",
            ),
            (
                dict(&[("model", dict(&[("g", weights()), ("g_ema", weights())]))]),
                "model.g_ema",
            ),
        ] {
            assert_eq!(key(&value, CheckpointPart::Ema).unwrap(), want);
        }
    }

    #[test]
    fn a_key_chooses_and_a_prefix_too() {
        let sets = dict(&[
            ("a", weights()),
            (
                "b.c",
                dict(&[("net.w", tensor()), ("net.v", tensor()), ("x", tensor())]),
            ),
        ]);
        for (typed, want) in [("a", "a"), ("b.c", "b.c"), ("b.c.net", "b.c.net")] {
            assert_eq!(key(&sets, CheckpointPart::Key(typed)).unwrap(), want);
        }
        let inside = dict(&[("state_dict", dict(&[("net.w", tensor())]))]);
        let found = key(&inside, CheckpointPart::Key("net")).unwrap();
        assert_eq!(found, "state_dict.net");
        let error = refusal(&sets, CheckpointPart::Key("b.d"));
        for part in ["\"b.d\"", "a (1 tensor)", "did you mean `b.c`?"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn what_cannot_be_chosen_is_listed() {
        let several = dict(&[
            ("a", weights()),
            ("b", weights()),
            ("step", b"K\x03".to_vec()),
        ]);
        let error = refusal(&several, CheckpointPart::Model);
        for part in ["a (1 tensor)", "b (1 tensor)", "step (3)", "--key"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        let error = refusal(&optimizer(), CheckpointPart::Model);
        assert!(error.contains("state of an optimiser"), "{error}");
        let error = refusal(&tensor(), CheckpointPart::Model);
        assert!(error.contains("a tensor float32 [1]"), "{error}");
        let error = refusal(&weights(), CheckpointPart::Ema);
        assert!(error.contains("no EMA to choose"), "{error}");
    }

    #[test]
    fn what_lies_beside_the_weights_is_told() {
        let value = dict(&[
            (
                "model",
                dict(&[("w", tensor()), ("version", b"K\x02".to_vec())]),
            ),
            ("step", b"K\x03".to_vec()),
        ]);
        let (pickle, _) = read(&[&value[..], b"."].concat()).unwrap();
        let selection = select(&pickle, CheckpointPart::Model).unwrap();
        let aside: Vec<_> = left_aside(&pickle, &selection)
            .into_iter()
            .map(|entry| format!("{}={}", entry.key, entry.what))
            .collect();
        assert_eq!(aside, ["step=3", "model.version=2"]);
    }

    #[test]
    fn dictionaries_within_each_other_without_end_are_no_weights() {
        // Each of ten dictionaries holds the next under 26 names; the last holds the first.
        let mut value = b"}q\x00".to_vec();
        for level in 1..10u8 {
            value.extend(b"}q");
            value.push(level);
            for letter in 'a'..='z' {
                value.extend(text(&letter.to_string()));
                value.extend([b'h', level - 1, b's']);
            }
        }
        value.extend(b"q\x63h\x00");
        value.extend([text("a"), b"h\x63s0".to_vec()].concat());
        assert!(key(&value, CheckpointPart::Model).is_err());
    }
}
