//! Lists, tuples, sets and dictionaries on the stack.

use super::unpickler::Unpickler;
use super::{Container, Global, Value};
use anyhow::{Result, bail, ensure};

impl Unpickler<'_> {
    fn add_container(&mut self, container: Container) -> usize {
        self.containers.push(container);
        self.containers.len() - 1
    }

    pub(super) fn push_dict(&mut self) -> Result<()> {
        let index = self.add_container(Container::Pairs(Vec::new()));
        self.push(Value::Dict(index))
    }

    /// Pushes a list, tuple or set of these items.
    pub(super) fn push_items(&mut self, items: Vec<Value>, make: fn(usize) -> Value) -> Result<()> {
        let index = self.add_container(Container::Items(items));
        self.push(make(index))
    }

    /// Appends to the list or set on top of the stack.
    pub(super) fn append(&mut self, items: Vec<Value>) -> Result<()> {
        let index = match self.stack.last() {
            Some(Value::List(index) | Value::Set(index)) => *index,
            // What an object holds is left aside with it.
            Some(Value::Object(_)) => return Ok(()),
            _ => bail!("the pickle appends to what is no list"),
        };
        match &mut self.containers[index] {
            Container::Items(list) => list.extend(items),
            Container::Pairs(_) => bail!("the pickle appends to a dictionary"),
        }
        Ok(())
    }

    /// Adds keys and values in turn to the dictionary on top of the stack.
    pub(super) fn set_items(&mut self, items: Vec<Value>) -> Result<()> {
        ensure!(
            items.len().is_multiple_of(2),
            "a dictionary's key has no value"
        );
        let index = match self.stack.last() {
            Some(Value::Dict(index)) => *index,
            Some(Value::Object(_)) => return Ok(()),
            _ => bail!("the pickle sets an item of what is no dictionary"),
        };
        let Container::Pairs(pairs) = &mut self.containers[index] else {
            bail!("the pickle sets an item of a list");
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            pairs.push((key, value));
        }
        Ok(())
    }

    /// The first items of a tuple or list, at most `most`.
    pub(super) fn first_items(&self, value: &Value, most: usize) -> Result<Vec<Value>> {
        let (Value::Tuple(index) | Value::List(index)) = value else {
            bail!("a call's arguments are no tuple");
        };
        match &self.containers[*index] {
            Container::Items(items) => Ok(items.iter().take(most).cloned().collect()),
            Container::Pairs(_) => bail!("a call's arguments are no tuple"),
        }
    }

    /// The items of the list, tuple or set at an index.
    pub(super) fn items_at(&self, index: usize) -> &[Value] {
        match &self.containers[index] {
            Container::Items(items) => items,
            Container::Pairs(_) => &[],
        }
    }

    /// Whether a dictionary has one of these keys.
    pub(super) fn has_key(&self, value: &Value, keys: &[&str]) -> bool {
        let Value::Dict(index) = value else {
            return false;
        };
        let Container::Pairs(pairs) = &self.containers[*index] else {
            return false;
        };
        let is_one = |key: &Value| matches!(key, Value::Text(text) if keys.contains(&&**text));
        pairs.iter().any(|(key, _)| is_one(key))
    }

    /// A class or function as it stands on the stack: whether it is this one.
    pub(super) fn is_global(value: &Value, global: Global) -> bool {
        *value == Value::Global(global)
    }
}
