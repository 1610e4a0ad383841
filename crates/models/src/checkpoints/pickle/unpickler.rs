//! The stack machine that a pickle is a program for, without its calls. The operations and their
//! codes are those of Python's `pickletools`.

use super::{
    Container, ORDERED_DICT, Pickle, REBUILD_PARAMETER, REBUILD_TENSOR, SIZE, STORAGES, Storage,
    TensorView, Value, known_global,
};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;

/// The most values that a pickle may make; no weight file has as many.
const MAX_VALUES: usize = 20_000_000;

/// The newest pickle protocol that is known.
const MAX_PROTOCOL: u8 = 5;

/// Codes of the operations, named as in Python's `pickle`.
mod op {
    pub const APPEND: u8 = b'a';
    pub const APPENDS: u8 = b'e';
    pub const BINBYTES: u8 = b'B';
    pub const BINBYTES8: u8 = 0x8e;
    pub const BINFLOAT: u8 = b'G';
    pub const BINGET: u8 = b'h';
    pub const BININT: u8 = b'J';
    pub const BININT1: u8 = b'K';
    pub const BININT2: u8 = b'M';
    pub const BINPERSID: u8 = b'Q';
    pub const BINPUT: u8 = b'q';
    pub const BINSTRING: u8 = b'T';
    pub const BINUNICODE: u8 = b'X';
    pub const BINUNICODE8: u8 = 0x8d;
    pub const BUILD: u8 = b'b';
    pub const DICT: u8 = b'd';
    pub const DUP: u8 = b'2';
    pub const EMPTY_DICT: u8 = b'}';
    pub const EMPTY_LIST: u8 = b']';
    pub const EMPTY_TUPLE: u8 = b')';
    pub const FRAME: u8 = 0x95;
    pub const GLOBAL: u8 = b'c';
    pub const LIST: u8 = b'l';
    pub const LONG1: u8 = 0x8a;
    pub const LONG4: u8 = 0x8b;
    pub const LONG_BINGET: u8 = b'j';
    pub const LONG_BINPUT: u8 = b'r';
    pub const MARK: u8 = b'(';
    pub const MEMOIZE: u8 = 0x94;
    pub const NEWFALSE: u8 = 0x89;
    pub const NEWTRUE: u8 = 0x88;
    pub const NONE: u8 = b'N';
    pub const POP: u8 = b'0';
    pub const POP_MARK: u8 = b'1';
    pub const PROTO: u8 = 0x80;
    pub const REDUCE: u8 = b'R';
    pub const SETITEM: u8 = b's';
    pub const SETITEMS: u8 = b'u';
    pub const SHORT_BINBYTES: u8 = b'C';
    pub const SHORT_BINSTRING: u8 = b'U';
    pub const SHORT_BINUNICODE: u8 = 0x8c;
    pub const STACK_GLOBAL: u8 = 0x93;
    pub const STOP: u8 = b'.';
    pub const TUPLE: u8 = b't';
    pub const TUPLE1: u8 = 0x85;
    pub const TUPLE2: u8 = 0x86;
    pub const TUPLE3: u8 = 0x87;
}

/// The state of the machine.
pub(super) struct Unpickler<'a> {
    bytes: &'a [u8],
    /// Index of the next byte to read.
    at: usize,
    stack: Vec<Value>,
    /// Values that the pickle stored to use again.
    memo: HashMap<u32, Value>,
    containers: Vec<Container>,
    storages: Vec<Storage>,
    storage_by_key: HashMap<String, usize>,
    /// Values pushed so far.
    made: usize,
}

impl<'a> Unpickler<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            stack: Vec::new(),
            memo: HashMap::new(),
            containers: Vec::new(),
            storages: Vec::new(),
            storage_by_key: HashMap::new(),
            made: 0,
        }
    }

    /// Runs the program to its end: the value on the stack, and how many bytes were read.
    pub fn run(mut self) -> Result<(Pickle, usize)> {
        loop {
            let code = self.take(1)?[0];
            if code == op::STOP {
                break;
            }
            self.execute(code)?;
        }
        let top = self.pop()?;
        Ok((
            Pickle {
                top,
                containers: self.containers,
                storages: self.storages,
            },
            self.at,
        ))
    }

    fn execute(&mut self, code: u8) -> Result<()> {
        match code {
            op::PROTO | op::FRAME => self.execute_framing(code),
            op::MARK | op::POP | op::POP_MARK | op::DUP => self.execute_stack(code),
            op::EMPTY_DICT | op::DICT | op::SETITEM | op::SETITEMS => self.execute_dict(code),
            op::EMPTY_LIST | op::LIST | op::APPEND | op::APPENDS => self.execute_list(code),
            op::EMPTY_TUPLE | op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                self.execute_tuple(code)
            }
            op::MEMOIZE | op::BINPUT | op::LONG_BINPUT | op::BINGET | op::LONG_BINGET => {
                self.execute_memo(code)
            }
            op::GLOBAL | op::STACK_GLOBAL | op::BINPERSID | op::REDUCE | op::BUILD => {
                self.execute_object(code)
            }
            _ => self.execute_scalar(code),
        }
    }

    fn execute_framing(&mut self, code: u8) -> Result<()> {
        if code == op::FRAME {
            // The frame's length is a hint for reading ahead.
            self.take(8)?;
            return Ok(());
        }
        let protocol = self.take(1)?[0];
        ensure!(
            protocol <= MAX_PROTOCOL,
            "pickle protocol {protocol} is not known"
        );
        Ok(())
    }

    fn execute_stack(&mut self, code: u8) -> Result<()> {
        match code {
            op::MARK => self.stack.push(Value::Mark),
            op::POP => drop(self.stack.pop()),
            op::POP_MARK => drop(self.pop_to_mark()?),
            _ => {
                let value = self
                    .stack
                    .last()
                    .context("the pickle copies from an empty stack")?;
                self.push(value.clone())?;
            }
        }
        Ok(())
    }

    fn execute_dict(&mut self, code: u8) -> Result<()> {
        match code {
            op::EMPTY_DICT => self.push_dict(),
            op::DICT => {
                let items = self.pop_to_mark()?;
                self.push_dict()?;
                self.set_items(items)
            }
            op::SETITEM => {
                let items = self.pop_many(2)?;
                self.set_items(items)
            }
            _ => {
                let items = self.pop_to_mark()?;
                self.set_items(items)
            }
        }
    }

    fn execute_list(&mut self, code: u8) -> Result<()> {
        match code {
            op::EMPTY_LIST => self.push_list(Vec::new()),
            op::LIST => {
                let items = self.pop_to_mark()?;
                self.push_list(items)
            }
            op::APPEND => {
                let items = self.pop_many(1)?;
                self.append(items)
            }
            _ => {
                let items = self.pop_to_mark()?;
                self.append(items)
            }
        }
    }

    fn execute_tuple(&mut self, code: u8) -> Result<()> {
        let items = match code {
            op::EMPTY_TUPLE => Vec::new(),
            op::TUPLE1 => self.pop_many(1)?,
            op::TUPLE2 => self.pop_many(2)?,
            op::TUPLE3 => self.pop_many(3)?,
            _ => self.pop_to_mark()?,
        };
        let index = self.add_container(Container::Items(items));
        self.push(Value::Tuple(index))
    }

    fn execute_memo(&mut self, code: u8) -> Result<()> {
        match code {
            op::MEMOIZE => self.remember(self.memo.len() as u32),
            op::BINPUT | op::LONG_BINPUT => {
                let index = self.number(if code == op::BINPUT { 1 } else { 4 })?;
                self.remember(index as u32)
            }
            _ => {
                let index = self.number(if code == op::BINGET { 1 } else { 4 })?;
                self.recall(index as u32)
            }
        }
    }

    fn execute_object(&mut self, code: u8) -> Result<()> {
        match code {
            op::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(module, name)
            }
            op::STACK_GLOBAL => match self.pop_many(2)?.as_slice() {
                [Value::Text(module), Value::Text(name)] => self.push_global(module, name),
                _ => bail!("a global without a name"),
            },
            op::BINPERSID => self.push_storage(),
            op::REDUCE => self.reduce(),
            // BUILD sets an object's state. That of an OrderedDict is torch's `_metadata`, which
            // does not concern the numbers.
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

    fn execute_scalar(&mut self, code: u8) -> Result<()> {
        let value = match code {
            op::NONE => Value::None,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::BININT1 => Value::Int(self.number(1)? as i64),
            op::BININT2 => Value::Int(self.number(2)? as i64),
            op::BININT => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            op::LONG1 => self.long(1)?,
            op::LONG4 => self.long(4)?,
            // The only numbers in a pickle that are big-endian.
            op::BINFLOAT => Value::Float(f64::from_bits(self.number(8)?.swap_bytes())),
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING => self.text(1)?,
            op::BINUNICODE | op::BINSTRING => self.text(4)?,
            op::BINUNICODE8 => self.text(8)?,
            op::SHORT_BINBYTES => Value::Bytes(self.sized(1)?.to_vec()),
            op::BINBYTES => Value::Bytes(self.sized(4)?.to_vec()),
            op::BINBYTES8 => Value::Bytes(self.sized(8)?.to_vec()),
            other => {
                bail!(
                    "pickle operation 0x{other:02x} at byte {} is not supported",
                    self.at - 1
                )
            }
        };
        self.push(value)
    }
}

/// Reading the operations' arguments.
impl<'a> Unpickler<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len());
        let end = end.context("the pickle ends in the middle: truncated")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A little-endian number without sign, `width` bytes wide (8 at most).
    fn number(&mut self, width: usize) -> Result<u64> {
        let mut number = 0;
        for byte in self.take(width)?.iter().rev() {
            number = number << 8 | u64::from(*byte);
        }
        Ok(number)
    }

    /// The text up to the end of a line.
    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.context("a line of the pickle has no end: truncated")?;
        self.at += end + 1;
        Ok(std::str::from_utf8(&rest[..end])?)
    }

    /// As many bytes as the number in front of them says, which is `width` bytes wide.
    fn sized(&mut self, width: usize) -> Result<&'a [u8]> {
        let length = self.number(width)? as usize;
        self.take(length)
    }

    fn text(&mut self, width: usize) -> Result<Value> {
        Ok(Value::Text(
            std::str::from_utf8(self.sized(width)?)?.to_string(),
        ))
    }

    /// A little-endian number with sign, of any length.
    fn long(&mut self, width: usize) -> Result<Value> {
        let bytes = self.sized(width)?;
        if bytes.len() > 8 {
            return Ok(Value::Long(bytes.to_vec()));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }
}

/// The stack and the memo.
impl Unpickler<'_> {
    fn push(&mut self, value: Value) -> Result<()> {
        self.made += 1;
        ensure!(
            self.made <= MAX_VALUES,
            "the pickle holds more than {MAX_VALUES} values"
        );
        self.stack.push(value);
        Ok(())
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

    /// The last `count` values, in the order in which they were pushed.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>> {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.pop()?);
        }
        values.reverse();
        Ok(values)
    }

    /// The values above the last mark, which goes too.
    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark);
        let values = self
            .stack
            .split_off(mark.context("the pickle lacks a mark")? + 1);
        self.stack.pop();
        Ok(values)
    }

    fn remember(&mut self, index: u32) -> Result<()> {
        let value = self
            .stack
            .last()
            .context("the pickle remembers from an empty stack")?;
        self.memo.insert(index, value.clone());
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        let value = self
            .memo
            .get(&index)
            .context("the pickle recalls what it never stored")?;
        self.push(value.clone())
    }
}

/// Lists, tuples and dictionaries.
impl Unpickler<'_> {
    fn add_container(&mut self, container: Container) -> usize {
        self.containers.push(container);
        self.containers.len() - 1
    }

    fn push_dict(&mut self) -> Result<()> {
        let index = self.add_container(Container::Pairs(Vec::new()));
        self.push(Value::Dict(index))
    }

    fn push_list(&mut self, items: Vec<Value>) -> Result<()> {
        let index = self.add_container(Container::Items(items));
        self.push(Value::List(index))
    }

    /// Appends to the list on top of the stack.
    fn append(&mut self, items: Vec<Value>) -> Result<()> {
        let Some(Value::List(index)) = self.stack.last() else {
            bail!("the pickle appends to what is no list");
        };
        match &mut self.containers[*index] {
            Container::Items(list) => list.extend(items),
            Container::Pairs(_) => bail!("the pickle appends to a dictionary"),
        }
        Ok(())
    }

    /// Adds keys and values in turn to the dictionary on top of the stack.
    fn set_items(&mut self, items: Vec<Value>) -> Result<()> {
        ensure!(
            items.len().is_multiple_of(2),
            "a dictionary's key has no value"
        );
        let Some(Value::Dict(index)) = self.stack.last() else {
            bail!("the pickle sets an item of what is no dictionary");
        };
        let Container::Pairs(pairs) = &mut self.containers[*index] else {
            bail!("the pickle sets an item of a list");
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            pairs.push((key, value));
        }
        Ok(())
    }

    /// The items of a tuple or list.
    fn items(&self, value: &Value) -> Result<&[Value]> {
        let (Value::Tuple(index) | Value::List(index)) = value else {
            bail!("expected a tuple, found {value:?}");
        };
        match &self.containers[*index] {
            Container::Items(items) => Ok(items),
            Container::Pairs(_) => bail!("expected a tuple"),
        }
    }

    /// The sizes or strides in a tuple.
    fn sizes(&self, value: &Value) -> Result<Vec<i64>> {
        let mut sizes = Vec::new();
        for item in self.items(value)? {
            match item {
                Value::Int(size) if *size >= 0 => sizes.push(*size),
                other => bail!("a size or stride is {other:?}"),
            }
        }
        Ok(sizes)
    }
}

/// What would be objects and calls in Python.
impl Unpickler<'_> {
    fn push_global(&mut self, module: &str, name: &str) -> Result<()> {
        let known = known_global(&format!("{module}.{name}"))?;
        self.push(Value::Global(known))
    }

    /// A persistent id, which in weight files is always a storage.
    fn push_storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let items = self.items(&id)?.to_vec();
        let [
            Value::Text(what),
            Value::Global(class),
            Value::Text(key),
            _,
            Value::Int(count),
            rest @ ..,
        ] = items.as_slice()
        else {
            bail!("a persistent id is not (storage, type, key, location, count)");
        };
        let nothing_more = rest.first().is_none_or(|value| *value == Value::None);
        ensure!(
            what == "storage" && nothing_more,
            "a persistent id is of an unknown form"
        );
        let kind = STORAGES
            .iter()
            .find(|(name, _)| name == class)
            .map(|(_, kind)| *kind);
        let kind = kind.with_context(|| format!("{class} is no storage type"))?;
        let count = usize::try_from(*count).context("a negative storage size")?;
        let index = self.add_storage(Storage {
            key: key.clone(),
            kind,
            count,
        })?;
        self.push(Value::Storage(index))
    }

    fn add_storage(&mut self, storage: Storage) -> Result<usize> {
        if let Some(index) = self.storage_by_key.get(&storage.key) {
            let key = &storage.key;
            ensure!(
                self.storages[*index] == storage,
                "storage {key} is described in two ways"
            );
            return Ok(*index);
        }
        let index = self.storages.len();
        self.storage_by_key.insert(storage.key.clone(), index);
        self.storages.push(storage);
        Ok(index)
    }

    /// What a call of a known function with these arguments gives.
    fn reduce(&mut self) -> Result<()> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let arguments = self.items(&arguments)?.to_vec();
        let made = match (&callee, arguments.as_slice()) {
            (Value::Global(ORDERED_DICT), []) => {
                Value::Dict(self.add_container(Container::Pairs(Vec::new())))
            }
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
                Value::Tensor(Box::new(TensorView {
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
}
