//! A pickle reader that makes plain data and descriptions of tensors, and nothing else.
//!
//! A pickle is a program for a small stack machine, one of whose operations calls any function of
//! Python's. [`Unpickler`] runs the program but calls nothing: the functions and types that weight
//! files keep are known in `globals` and stand for plain values; any other name refuses the file.

mod containers;
mod globals;
mod objects;
mod op;
mod reader;
mod unpickler;

use crate::elements::Element;
use anyhow::Result;
pub(super) use globals::Global;
use std::rc::Rc;
use unpickler::Unpickler;

/// A block of numbers that tensors are views of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    /// Name under which the file holds the numbers.
    pub key: Rc<str>,
    pub element: Element,
    /// Elements, as the pickle states them.
    pub count: usize,
}

impl Storage {
    /// `None` where the number overflows.
    pub fn size_in_bytes(&self) -> Option<usize> {
        self.count.checked_mul(self.element.size())
    }
}

/// A tensor as a view of a storage; offset and strides count elements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TensorView {
    /// Index into [`Pickle::storages`].
    pub storage: usize,
    /// The storage's own type, or what its bytes are read as.
    pub element: Element,
    pub offset: usize,
    pub size: Vec<i64>,
    pub stride: Vec<i64>,
}

/// A value. Lists, tuples, sets and dictionaries are indices into [`Pickle::containers`], so that
/// values nested to any depth cost no stack; texts and views are shared, so that a value used again
/// costs no memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Bytes(Rc<[u8]>),
    /// A number too large for 64 bits, little-endian.
    Long(Rc<[u8]>),
    /// A function or type of Python's that is known.
    Global(Global),
    /// A function or type that is not known, by its full name.
    Foreign(Rc<str>),
    List(usize),
    Tuple(usize),
    Set(usize),
    Dict(usize),
    /// What is left aside: an object, by the name of its class or of the function that made it.
    Object(Rc<str>),
    /// Index into [`Pickle::storages`].
    Storage(usize),
    Tensor(Rc<TensorView>),
    /// Where the items of a container begin on the stack.
    Mark,
}

/// What a list, tuple, set or dictionary holds.
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

impl Pickle {
    /// The pairs of a dictionary; `None` of any other value.
    pub fn pairs(&self, value: &Value) -> Option<&[(Value, Value)]> {
        let Value::Dict(index) = value else {
            return None;
        };
        match &self.containers[*index] {
            Container::Pairs(pairs) => Some(pairs),
            Container::Items(_) => None,
        }
    }

    /// The items of a list, tuple or set; `None` of any other value.
    pub fn items(&self, value: &Value) -> Option<&[Value]> {
        let (Value::List(index) | Value::Tuple(index) | Value::Set(index)) = value else {
            return None;
        };
        match &self.containers[*index] {
            Container::Items(items) => Some(items),
            Container::Pairs(_) => None,
        }
    }
}

/// Reads one pickle at the start of `bytes`: its value, and how many bytes it took.
///
/// # Errors
/// A pickle that is damaged, would run code in Python, or holds what is not known here.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle, usize)> {
    Unpickler::new(bytes).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(bytes: &[u8]) -> Result<Value> {
        read(bytes).map(|(p, _)| p.top)
    }

    fn refusal(bytes: &[u8]) -> String {
        top(bytes).unwrap_err().to_string()
    }

    #[test]
    fn numbers_and_texts() {
        for (bytes, value) in [
            (&b"\x80\x02J\xff\xff\xff\xff."[..], Value::Int(-1)),
            (b"\x8a\x02\x00\xff.", Value::Int(-256)),
            (b"G\x3f\xf8\x00\x00\x00\x00\x00\x00.", Value::Float(1.5)),
            (b"X\x02\x00\x00\x00ab.", Value::Text("ab".into())),
            (b"I01\n.", Value::Bool(true)),
            (b"I-7\n.", Value::Int(-7)),
            (b"L12L\n.", Value::Int(12)),
            (b"F0.5\n.", Value::Float(0.5)),
            (b"S'ab'\n.", Value::Text("ab".into())),
            (b"Vab\n.", Value::Text("ab".into())),
        ] {
            assert_eq!(top(bytes).unwrap(), value, "{bytes:?}");
        }
    }

    #[test]
    fn whatever_runs_code_is_refused_by_name_however_it_is_written() {
        for (bytes, name) in [
            (
                &b"cposix\nsystem\n(X\x02\x00\x00\x00lstR."[..],
                "posix.system",
            ),
            (b"cposix\nsystem\n.", "posix.system"),
            (b"c__builtin__\neval\n(S'1'\ntR.", "builtins.eval"),
            (
                b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
                "builtins.eval",
            ),
            (b"(S'ls'\nios\nsystem\n.", "os.system"),
            (b"(cos\nsystem\nS'ls'\no.", "os.system"),
            (b"csubprocess\nPopen\n)\x81.", "subprocess.Popen"),
            (b"ccopy_reg\n_extension_registry\n.", "copyreg._ext"),
            (b"c__builtin__\ngetattr\n.", "builtins.getattr"),
            // In the state of something harmless, and behind a class that is not known.
            (
                b"cargparse\nNamespace\n)\x81}X\x01\x00\x00\x00acos\nsystem\nsb.",
                "os.system",
            ),
            (b"(cmine\nNet\ncos\nsystem\nt.", "os.system"),
        ] {
            let error = refusal(bytes);
            for part in [name, "would run code", "nothing was executed"] {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }

    #[test]
    fn a_function_that_is_not_known_is_never_called() {
        for bytes in [
            &b"cmine\nload\n(K\x01tR."[..],
            b"(K\x01imine\nload\n.",
            b"ctorch._utils\n_rebuild_anything\n(K\x01tR.",
        ] {
            let error = refusal(bytes);
            assert!(error.contains("would call"), "{error}");
            assert!(error.contains("nothing was executed"), "{error}");
        }
    }

    #[test]
    fn an_object_of_an_unknown_class_is_no_accusation() {
        for bytes in [
            &b"cmine\nConfig\n)\x81}b."[..],
            b"cmine\nConfig\n(K\x01tR.",
            b"}X\x01\x00\x00\x00acmine\nConfig\ns.",
            // What follows fits no value that is known here.
            b"cmine\nConfig\n)\x81K\x01a.",
        ] {
            let error = refusal(bytes);
            assert!(error.contains("mine.Config"), "{error}");
            assert!(!error.contains("run code"), "{error}");
        }
    }

    #[test]
    fn a_whole_module_is_named_as_one() {
        let state = b"cmine\nNet\n)\x81}X\x08\x00\x00\x00_modules}sb.";
        let torch = b"ctorch.nn.modules.linear\nLinear\n)\x81}b.";
        for bytes in [&state[..], torch] {
            let error = refusal(bytes);
            assert!(error.contains("a whole module"), "{error}");
            assert!(error.contains("state_dict()"), "{error}");
        }
    }

    #[test]
    fn plain_values_of_python_are_read() {
        for (bytes, value) in [
            (
                &b"cargparse\nNamespace\n)\x81}X\x02\x00\x00\x00lrK\x01sb."[..],
                Value::Object("argparse.Namespace".into()),
            ),
            (
                b"ctorch\ndevice\n(X\x03\x00\x00\x00cputR.",
                Value::Object("torch.device".into()),
            ),
            (b"\x8f(K\x01K\x02\x90.", Value::Set(0)),
            (b"(K\x01\x91.", Value::Set(0)),
            (
                b"\x96\x01\x00\x00\x00\x00\x00\x00\x00a.",
                Value::Bytes((*b"a").into()),
            ),
            (
                b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R.",
                Value::Dict(1),
            ),
            (b"ccollections\nCounter\n}K\x01K\x02s\x85R.", Value::Dict(0)),
        ] {
            assert_eq!(top(bytes).unwrap(), value, "{bytes:?}");
        }
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
            b"\x81.",
            b"\x92.",
            b"o.",
            b"I\n.",
            b"S'\n",
            b"g0\n.",
        ] {
            assert!(top(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_call_within_calls_costs_no_stack() {
        let mut bytes = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00".to_vec();
        for _ in 0..100_000 {
            // The function, its type and its arguments, nested once more.
            bytes.extend(b"h\x00NN\x87");
        }
        bytes.extend(b"R.");
        assert!(top(&bytes).is_err());
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let mut bytes = vec![b']'; 200_000];
        bytes.extend(vec![b'a'; 199_999]);
        bytes.push(b'.');
        assert_eq!(top(&bytes).unwrap(), Value::List(0));
    }
}
