//! A pickle reader that makes plain data and descriptions of tensors, and nothing else.
//!
//! A pickle is a program for a small stack machine, one of whose operations calls any function of
//! Python's. [`Unpickler`] runs the program but calls nothing: the few functions that weight files
//! need are known here and stand for plain values, and any other name is an error that tells it.

mod unpickler;

use anyhow::{Context, Result};
use tch::Kind;
use unpickler::Unpickler;

/// A block of numbers that tensors are views of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    /// Name under which the file holds the numbers.
    pub key: String,
    pub kind: Kind,
    /// Elements, as the pickle states them.
    pub count: usize,
}

impl Storage {
    /// `None` where the number overflows.
    pub fn size_in_bytes(&self) -> Option<usize> {
        self.count.checked_mul(self.kind.elt_size_in_bytes())
    }
}

/// A tensor as a view of a storage; offset and strides count elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorView {
    /// Index into [`Pickle::storages`].
    pub storage: usize,
    pub offset: usize,
    pub size: Vec<i64>,
    pub stride: Vec<i64>,
}

/// A value. Lists, tuples and dictionaries are indices into [`Pickle::containers`], so that values
/// nested to any depth cost no stack.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// A number too large for 64 bits, little-endian.
    Long(Vec<u8>),
    /// A function or type of Python's, by its full name.
    Global(&'static str),
    List(usize),
    Tuple(usize),
    Dict(usize),
    /// Index into [`Pickle::storages`].
    Storage(usize),
    Tensor(Box<TensorView>),
    /// Where the items of a container begin on the stack.
    Mark,
}

/// What a list, tuple or dictionary holds.
#[derive(Debug)]
pub(super) enum Container {
    Items(Vec<Value>),
    Pairs(Vec<(Value, Value)>),
}

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle {
    /// The value that the pickle is.
    pub top: Value,
    pub containers: Vec<Container>,
    pub storages: Vec<Storage>,
}

/// Reads one pickle at the start of `bytes`: its value, and how many bytes it took.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle, usize)> {
    Unpickler::new(bytes).run()
}

const ORDERED_DICT: &str = "collections.OrderedDict";
const REBUILD_TENSOR: &str = "torch._utils._rebuild_tensor_v2";
const REBUILD_PARAMETER: &str = "torch._utils._rebuild_parameter";
const SIZE: &str = "torch.Size";
const STORAGES: [(&str, Kind); 9] = [
    ("torch.FloatStorage", Kind::Float),
    ("torch.DoubleStorage", Kind::Double),
    ("torch.HalfStorage", Kind::Half),
    ("torch.BFloat16Storage", Kind::BFloat16),
    ("torch.LongStorage", Kind::Int64),
    ("torch.IntStorage", Kind::Int),
    ("torch.ShortStorage", Kind::Int16),
    ("torch.ByteStorage", Kind::Uint8),
    ("torch.BoolStorage", Kind::Bool),
];

/// The name as one of those that weight files need.
fn known_global(name: &str) -> Result<&'static str> {
    let functions = [ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, SIZE];
    let mut known = functions
        .into_iter()
        .chain(STORAGES.iter().map(|(class, _)| *class));
    known.find(|known| *known == name).with_context(|| {
        format!(
            "it wants to call {name}, which no weight file needs: refused, nothing was executed \
             (do not load this file elsewhere)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(bytes: &[u8]) -> Result<Value> {
        read(bytes).map(|(p, _)| p.top)
    }

    #[test]
    fn numbers_and_texts() {
        assert_eq!(top(b"\x80\x02J\xff\xff\xff\xff.").unwrap(), Value::Int(-1));
        assert_eq!(top(b"\x8a\x02\x00\xff.").unwrap(), Value::Int(-256));
        assert_eq!(
            top(b"G\x3f\xf8\x00\x00\x00\x00\x00\x00.").unwrap(),
            Value::Float(1.5)
        );
        assert_eq!(
            top(b"X\x02\x00\x00\x00ab.").unwrap(),
            Value::Text("ab".into())
        );
    }

    #[test]
    fn a_call_is_refused_by_name() {
        let error = top(b"cposix\nsystem\n(X\x02\x00\x00\x00lstR.")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("posix.system") && error.contains("nothing was executed"),
            "{error}"
        );
        let error = top(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.")
            .unwrap_err()
            .to_string();
        assert!(error.contains("builtins.eval"), "{error}");
    }

    #[test]
    fn nothing_short_or_strange_panics() {
        for bad in [
            &b""[..],
            b".",
            b"(.",
            b"X\xff\xff\xff\xffa.",
            b"h\x01.",
            b"a.",
            b"}K\x01s.",
            b"(K\x01u.",
            b"R.",
            b"Q.",
            b"b.",
            b"\x8b\xff\xff\xff\xff.",
        ] {
            assert!(top(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let mut bytes = vec![b']'; 200_000];
        bytes.extend(vec![b'a'; 199_999]);
        bytes.push(b'.');
        assert_eq!(top(&bytes).unwrap(), Value::List(0));
    }
}
