//! A pickle reader that can only make plain data and tensor descriptions. Nothing in a file is ever called:
//! a global that is not on a short list is an error that names it.

use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use tch::Kind;

/// Where a tensor's numbers lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub key: String,
    pub kind: Kind,
    /// Elements, as the pickle says.
    pub count: usize,
}

/// A view into a storage; sizes in elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub storage: usize,
    pub offset: usize,
    pub size: Vec<i64>,
    pub stride: Vec<i64>,
}

/// A value. Lists, tuples and dictionaries live in [`Pickle::nodes`], so that a hostile nesting costs no stack.
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
    Global(&'static str),
    List(usize),
    Tuple(usize),
    Dict(usize),
    /// Index into [`Pickle::storages`].
    Storage(usize),
    View(Box<View>),
    Mark,
}

/// What a container holds.
#[derive(Debug)]
pub(super) enum Node {
    Items(Vec<Value>),
    Pairs(Vec<(Value, Value)>),
}

/// A finished pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub top: Value,
    pub nodes: Vec<Node>,
    pub storages: Vec<Storage>,
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

fn known_global(name: &str) -> Result<&'static str> {
    let known = [ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, SIZE]
        .into_iter()
        .chain(STORAGES.iter().map(|(n, _)| *n));
    known.into_iter().find(|k| *k == name).with_context(|| {
        format!("it wants to call {name}, which no weight file needs: refused, nothing was executed (do not load this file elsewhere)")
    })
}

/// More values than this in one pickle is no weight file.
const MAX_VALUES: usize = 20_000_000;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    nodes: Vec<Node>,
    storages: Vec<Storage>,
    by_key: HashMap<String, usize>,
    made: usize,
}

/// Reads one pickle at the start of `bytes`: the value and how many bytes it took.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle, usize)> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        memo: HashMap::new(),
        nodes: Vec::new(),
        storages: Vec::new(),
        by_key: HashMap::new(),
        made: 0,
    };
    while machine.step()? {}
    let top = machine.pop()?;
    Ok((
        Pickle {
            top,
            nodes: machine.nodes,
            storages: machine.storages,
        },
        machine.at,
    ))
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self
            .at
            .checked_add(count)
            .filter(|e| *e <= self.bytes.len())
            .context("the pickle ends in the middle: truncated")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> Result<u64> {
        Ok(self
            .take(width)?
            .iter()
            .rev()
            .fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|b| *b == b'\n')
            .context("a line of the pickle has no end: truncated")?;
        self.at += end + 1;
        Ok(std::str::from_utf8(&rest[..end])?)
    }

    fn text(&mut self, width: usize) -> Result<Value> {
        let length = self.number(width)? as usize;
        Ok(Value::Text(
            std::str::from_utf8(self.take(length)?)?.to_string(),
        ))
    }

    fn pop(&mut self) -> Result<Value> {
        match self
            .stack
            .pop()
            .context("the pickle takes from an empty stack")?
        {
            Value::Mark => bail!("the pickle takes a mark for a value"),
            value => Ok(value),
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.made += 1;
        ensure!(
            self.made <= MAX_VALUES,
            "the pickle holds more than {MAX_VALUES} values"
        );
        self.stack.push(value);
        Ok(())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self
            .stack
            .iter()
            .rposition(|v| *v == Value::Mark)
            .context("the pickle lacks a mark")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn node(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn tuple(&mut self, items: Vec<Value>) -> Result<()> {
        let node = self.node(Node::Items(items));
        self.push(Value::Tuple(node))
    }

    fn last_of(&mut self, count: usize) -> Result<Vec<Value>> {
        let mut items: Vec<Value> = (0..count).map(|_| self.pop()).collect::<Result<_>>()?;
        items.reverse();
        Ok(items)
    }

    fn extend(&mut self, items: Vec<Value>) -> Result<()> {
        let Some(Value::List(node)) = self.stack.last() else {
            bail!("the pickle appends to what is no list")
        };
        match &mut self.nodes[*node] {
            Node::Items(list) => list.extend(items),
            Node::Pairs(_) => bail!("the pickle appends to a dictionary"),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<()> {
        ensure!(
            items.len().is_multiple_of(2),
            "a dictionary's key has no value"
        );
        let Some(Value::Dict(node)) = self.stack.last() else {
            bail!("the pickle sets an item of what is no dictionary")
        };
        let Node::Pairs(pairs) = &mut self.nodes[*node] else {
            bail!("the pickle sets an item of a list")
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            pairs.push((key, value));
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<()> {
        let value = self
            .stack
            .last()
            .context("the pickle remembers from an empty stack")?
            .clone();
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        let value = self
            .memo
            .get(&index)
            .context("the pickle recalls what it never stored")?
            .clone();
        self.push(value)
    }

    fn items(&self, value: &Value) -> Result<&[Value]> {
        match value {
            Value::Tuple(node) | Value::List(node) => match &self.nodes[*node] {
                Node::Items(items) => Ok(items),
                Node::Pairs(_) => bail!("expected a tuple"),
            },
            other => bail!("expected a tuple, found {other:?}"),
        }
    }

    fn sizes(&self, value: &Value) -> Result<Vec<i64>> {
        let one = |v: &Value| match v {
            Value::Int(n) if *n >= 0 => Ok(*n),
            other => bail!("a size or stride is {other:?}"),
        };
        self.items(value)?.iter().map(one).collect()
    }

    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let items = self.items(&id)?.to_vec();
        let [
            Value::Text(what),
            Value::Global(class),
            Value::Text(key),
            _,
            Value::Int(count),
            ..,
        ] = items.as_slice()
        else {
            bail!("a persistent id is not (storage, type, key, location, count)");
        };
        ensure!(
            what == "storage" && items.get(5).is_none_or(|v| *v == Value::None),
            "a persistent id is of an unknown form"
        );
        let (_, kind) = STORAGES
            .iter()
            .find(|(n, _)| n == class)
            .with_context(|| format!("{class} is no storage type"))?;
        let storage = Storage {
            key: key.clone(),
            kind: *kind,
            count: usize::try_from(*count).context("a negative storage size")?,
        };
        let index = match self.by_key.get(key) {
            Some(i) => {
                ensure!(
                    self.storages[*i] == storage,
                    "storage {key} is described in two ways"
                );
                *i
            }
            None => {
                self.storages.push(storage);
                self.by_key.insert(key.clone(), self.storages.len() - 1);
                self.storages.len() - 1
            }
        };
        self.push(Value::Storage(index))
    }

    fn reduce(&mut self) -> Result<()> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let arguments = self.items(&arguments)?.to_vec();
        let made = match (&callee, arguments.as_slice()) {
            (Value::Global(ORDERED_DICT), []) => Value::Dict(self.node(Node::Pairs(Vec::new()))),
            (Value::Global(SIZE), [list]) => list.clone(),
            (Value::Global(REBUILD_PARAMETER), [tensor, ..]) => tensor.clone(),
            (
                Value::Global(REBUILD_TENSOR),
                [
                    Value::Storage(storage),
                    Value::Int(offset),
                    size,
                    stride,
                    ..,
                ],
            ) => {
                let offset = usize::try_from(*offset).context("a negative storage offset")?;
                let (size, stride) = (self.sizes(size)?, self.sizes(stride)?);
                Value::View(Box::new(View {
                    storage: *storage,
                    offset,
                    size,
                    stride,
                }))
            }
            (callee, _) => bail!("it calls {callee:?} in a way no weight file does"),
        };
        self.push(made)
    }

    fn long(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        if length > 8 {
            return self.push(Value::Long(bytes.to_vec()));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let fill = if negative { 0xff } else { 0 };
        let mut whole = [fill; 8];
        whole[..length].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(whole)))
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let known = known_global(&format!("{module}.{name}"))?;
        self.push(Value::Global(known))
    }

    /// One operation; false after the last.
    fn step(&mut self) -> Result<bool> {
        let code = self.take(1)?[0];
        match code {
            b'.' => return Ok(false),
            b'(' => self.stack.push(Value::Mark),
            b'0' => drop(self.stack.pop()),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let value = self
                    .stack
                    .last()
                    .context("the pickle copies from an empty stack")?
                    .clone();
                self.push(value)?;
            }
            0x80 => {
                let version = self.take(1)?[0];
                ensure!(version <= 5, "pickle protocol {version} is not known");
            }
            0x95 => drop(self.take(8)?),
            b'}' | b'd' | b's' | b'u' => self.dictionaries(code)?,
            b']' | b'l' | b'a' | b'e' | b')' | b't' | 0x85..=0x87 => self.sequences(code)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memory(code)?,
            b'c' | 0x93 | b'Q' | b'R' | b'b' => self.objects(code)?,
            _ => self.plain(code)?,
        }
        Ok(true)
    }

    fn dictionaries(&mut self, code: u8) -> Result<()> {
        match code {
            b'}' => {
                let node = self.node(Node::Pairs(Vec::new()));
                self.push(Value::Dict(node))
            }
            b'd' => {
                let items = self.since_mark()?;
                let node = self.node(Node::Pairs(Vec::new()));
                self.push(Value::Dict(node))?;
                self.set_items(items)
            }
            b's' => {
                let items = self.last_of(2)?;
                self.set_items(items)
            }
            _ => {
                let items = self.since_mark()?;
                self.set_items(items)
            }
        }
    }

    fn sequences(&mut self, code: u8) -> Result<()> {
        match code {
            b']' | b'l' => {
                let items = if code == b'l' {
                    self.since_mark()?
                } else {
                    Vec::new()
                };
                let node = self.node(Node::Items(items));
                self.push(Value::List(node))
            }
            b'a' => {
                let items = self.last_of(1)?;
                self.extend(items)
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(items)
            }
            b')' => self.tuple(Vec::new()),
            b't' => {
                let items = self.since_mark()?;
                self.tuple(items)
            }
            count => {
                let items = self.last_of(usize::from(count - 0x84))?;
                self.tuple(items)
            }
        }
    }

    fn memory(&mut self, code: u8) -> Result<()> {
        match code {
            0x94 => self.remember(self.memo.len() as u32),
            b'q' | b'r' => {
                let index = self.number(if code == b'q' { 1 } else { 4 })?;
                self.remember(index as u32)
            }
            _ => {
                let index = self.number(if code == b'h' { 1 } else { 4 })?;
                self.recall(index as u32)
            }
        }
    }

    fn objects(&mut self, code: u8) -> Result<()> {
        match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            0x93 => match self.last_of(2)?.as_slice() {
                [Value::Text(module), Value::Text(name)] => self.global(module, name),
                _ => bail!("a global without a name"),
            },
            b'Q' => self.persistent(),
            b'R' => self.reduce(),
            // The state of an OrderedDict is torch's `_metadata`, which says nothing about the numbers.
            _ => {
                self.pop()?;
                ensure!(
                    matches!(self.stack.last(), Some(Value::Dict(_))),
                    "it sets the state of what is no dictionary"
                );
                Ok(())
            }
        }
    }

    fn plain(&mut self, code: u8) -> Result<()> {
        let value = match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            b'J' => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            b'G' => Value::Float(f64::from_bits(self.number(8)?.swap_bytes())),
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'C' | b'B' | 0x8e => {
                let length = self.number(if code == b'C' {
                    1
                } else if code == b'B' {
                    4
                } else {
                    8
                })?;
                Value::Bytes(self.take(length as usize)?.to_vec())
            }
            0x8a | 0x8b => {
                let length = self.number(if code == 0x8a { 1 } else { 4 })? as usize;
                return self.long(length);
            }
            other => bail!(
                "pickle operation 0x{other:02x} at byte {} is not supported",
                self.at - 1
            ),
        };
        self.push(value)
    }
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
