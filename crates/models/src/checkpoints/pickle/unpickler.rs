//! The stack machine that a pickle is a program for, without its calls. The operations and their
//! codes are those of Python's `pickletools`.

use super::reader::Reader;
use super::{Container, Pickle, Storage, Value, op};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use std::rc::Rc;

/// The most values that a pickle may make; no weight file has as many.
const MAX_VALUES: usize = 20_000_000;

/// The newest pickle protocol that is known.
const MAX_PROTOCOL: u8 = 5;

/// The state of the machine.
pub(super) struct Unpickler<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) stack: Vec<Value>,
    /// Values that the pickle stored to use again.
    memo: HashMap<u32, Value>,
    pub(super) containers: Vec<Container>,
    pub(super) storages: Vec<Storage>,
    pub(super) storage_by_key: HashMap<Rc<str>, usize>,
    /// The first name that is not known. Reading goes on behind it, for what the file may be and
    /// whether it would run code, but the file is refused.
    pub(super) foreign: Option<Rc<str>>,
    /// The first class that is one of modules.
    pub(super) module: Option<Rc<str>>,
    /// Why the file is refused as one that would run code.
    pub(super) accusation: Option<String>,
    /// Values pushed so far.
    made: usize,
}

impl<'a> Unpickler<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            stack: Vec::new(),
            memo: HashMap::new(),
            containers: Vec::new(),
            storages: Vec::new(),
            storage_by_key: HashMap::new(),
            foreign: None,
            module: None,
            accusation: None,
            made: 0,
        }
    }

    /// Runs the program to its end: the value on the stack, and how many bytes were read.
    pub fn run(mut self) -> Result<(Pickle, usize)> {
        let end = self.run_to_end();
        if let Some(refusal) = self.refusal() {
            bail!(refusal);
        }
        let pickle = Pickle {
            top: end?,
            containers: self.containers,
            storages: self.storages,
        };
        Ok((pickle, self.reader.position()))
    }

    fn run_to_end(&mut self) -> Result<Value> {
        loop {
            let code = self.reader.byte()?;
            if code == op::STOP {
                return self.pop();
            }
            self.execute(code)?;
        }
    }

    fn execute(&mut self, code: u8) -> Result<()> {
        match code {
            op::PROTO | op::FRAME => self.execute_framing(code),
            op::MARK | op::POP | op::POP_MARK | op::DUP => self.execute_stack(code),
            op::EMPTY_DICT | op::DICT | op::SETITEM | op::SETITEMS => self.execute_dict(code),
            op::EMPTY_LIST | op::LIST | op::APPEND | op::APPENDS => self.execute_list(code),
            op::EMPTY_SET | op::ADDITEMS | op::FROZENSET => self.execute_set(code),
            op::EMPTY_TUPLE | op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                self.execute_tuple(code)
            }
            op::MEMOIZE | op::BINPUT | op::LONG_BINPUT | op::PUT => self.execute_put(code),
            op::BINGET | op::LONG_BINGET | op::GET => self.execute_get(code),
            op::GLOBAL | op::STACK_GLOBAL | op::BINPERSID | op::REDUCE | op::BUILD => {
                self.execute_object(code)
            }
            op::NEWOBJ | op::NEWOBJ_EX | op::INST | op::OBJ => self.execute_construction(code),
            _ => self.execute_scalar(code),
        }
    }

    fn execute_framing(&mut self, code: u8) -> Result<()> {
        if code == op::FRAME {
            // The frame's length is a hint for reading ahead.
            self.reader.take(8)?;
            return Ok(());
        }
        let protocol = self.reader.byte()?;
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
            op::EMPTY_LIST => self.push_items(Vec::new(), Value::List),
            op::LIST => {
                let items = self.pop_to_mark()?;
                self.push_items(items, Value::List)
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

    fn execute_set(&mut self, code: u8) -> Result<()> {
        match code {
            op::EMPTY_SET => self.push_items(Vec::new(), Value::Set),
            op::FROZENSET => {
                let items = self.pop_to_mark()?;
                self.push_items(items, Value::Set)
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
        self.push_items(items, Value::Tuple)
    }

    /// An index on a line of its own.
    fn index_line(&mut self) -> Result<u32> {
        self.reader.line()?.trim().parse().context("a memo's index")
    }

    fn execute_put(&mut self, code: u8) -> Result<()> {
        let index = match code {
            op::MEMOIZE => self.memo.len() as u32,
            op::BINPUT => self.reader.number(1)? as u32,
            op::LONG_BINPUT => self.reader.number(4)? as u32,
            _ => self.index_line()?,
        };
        self.remember(index)
    }

    fn execute_get(&mut self, code: u8) -> Result<()> {
        let index = match code {
            op::BINGET => self.reader.number(1)? as u32,
            op::LONG_BINGET => self.reader.number(4)? as u32,
            _ => self.index_line()?,
        };
        self.recall(index)
    }

    fn execute_object(&mut self, code: u8) -> Result<()> {
        match code {
            op::GLOBAL => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.push_global(module, name)
            }
            op::STACK_GLOBAL => match self.pop_many(2)?.as_slice() {
                [Value::Text(module), Value::Text(name)] => self.push_global(module, name),
                _ => bail!("a global without a name"),
            },
            op::BINPERSID => self.push_persistent(),
            op::REDUCE => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                self.call(callee, arguments)
            }
            _ => self.build(),
        }
    }

    fn execute_construction(&mut self, code: u8) -> Result<()> {
        match code {
            op::NEWOBJ => {
                let arguments = self.pop()?;
                let class = self.pop()?;
                self.construct(class, arguments)
            }
            op::NEWOBJ_EX => {
                let _named = self.pop()?;
                let arguments = self.pop()?;
                let class = self.pop()?;
                self.construct(class, arguments)
            }
            op::INST => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                let items = self.pop_to_mark()?;
                self.push_global(module, name)?;
                let class = self.pop()?;
                self.push_items(items, Value::Tuple)?;
                let arguments = self.pop()?;
                self.call(class, arguments)
            }
            _ => {
                let mut items = self.pop_to_mark()?.into_iter();
                let class = items.next().context("an object without a class")?;
                self.push_items(items.collect(), Value::Tuple)?;
                let arguments = self.pop()?;
                self.call(class, arguments)
            }
        }
    }

    fn execute_scalar(&mut self, code: u8) -> Result<()> {
        let reader = &mut self.reader;
        let value = match code {
            op::NONE => Value::None,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::BININT1 => Value::Int(reader.number(1)? as i64),
            op::BININT2 => Value::Int(reader.number(2)? as i64),
            op::BININT => Value::Int(i64::from(reader.number(4)? as u32 as i32)),
            op::LONG1 => reader.long(1)?,
            op::LONG4 => reader.long(4)?,
            op::INT | op::LONG | op::FLOAT => reader.number_line()?,
            // The only numbers in a pickle that are big-endian.
            op::BINFLOAT => Value::Float(f64::from_bits(reader.number(8)?.swap_bytes())),
            op::SHORT_BINUNICODE => reader.text(1)?,
            op::BINUNICODE => reader.text(4)?,
            op::BINUNICODE8 => reader.text(8)?,
            op::UNICODE => Value::Text(reader.line()?.into()),
            op::SHORT_BINSTRING => reader.byte_text(1)?,
            op::BINSTRING => reader.byte_text(4)?,
            op::STRING => reader.quoted_line()?,
            op::SHORT_BINBYTES => Value::Bytes(reader.sized(1)?.into()),
            op::BINBYTES => Value::Bytes(reader.sized(4)?.into()),
            op::BINBYTES8 | op::BYTEARRAY8 => Value::Bytes(reader.sized(8)?.into()),
            other => {
                let at = reader.position() - 1;
                bail!("pickle operation 0x{other:02x} at byte {at} is not supported")
            }
        };
        self.push(value)
    }
}

/// The stack and the memo.
impl Unpickler<'_> {
    /// Counts values that are made. Errors where no weight file has as many.
    pub(super) fn count(&mut self, values: usize) -> Result<()> {
        self.made += values;
        ensure!(
            self.made <= MAX_VALUES,
            "the pickle holds more than {MAX_VALUES} values"
        );
        Ok(())
    }

    pub(super) fn push(&mut self, value: Value) -> Result<()> {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Value> {
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
