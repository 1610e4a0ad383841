//! What would be objects and calls in Python: names, calls, states, storages.

use super::globals::{Verdict, full_name, is_class, judge};
use super::unpickler::Unpickler;
use super::{Global, Storage, TensorView, Value};
use crate::elements::Element;
use anyhow::{Context, Result, bail, ensure};
use std::rc::Rc;
use tch::Kind;

/// The most arguments that a call which is known here looks at.
const MAX_ARGUMENTS: usize = 8;

/// The most dimensions of a tensor, which are PyTorch's.
const MAX_DIMENSIONS: usize = 64;

/// The most calls of `_rebuild_from_type_v2` within each other.
const MAX_NESTED_CALLS: usize = 4;

/// Keys of the state of every module.
const MODULE_STATE: [&str; 2] = ["_modules", "_parameters"];

const SAVE_STATE_DICT: &str = "in Python, where its code is, save the weights alone: \
     torch.save(model.state_dict(), FILE)";

/// Names, and why they refuse a file.
impl Unpickler<'_> {
    /// The one reason to refuse what was read; none where everything was known.
    pub(super) fn refusal(&self) -> Option<String> {
        if let Some(accusation) = &self.accusation {
            return Some(accusation.clone());
        }
        if let Some(class) = &self.module {
            return Some(format!(
                "it holds a whole module ({class}), not its weights alone: {SAVE_STATE_DICT}"
            ));
        }
        let name = self.foreign.as_ref()?;
        let what = if is_class(name) {
            "an object"
        } else {
            "something"
        };
        Some(format!(
            "beside plain values it holds {what} of {name}, which is not known here: refused, \
             nothing was executed; in Python, save the weights alone: torch.save({{\"state_dict\": \
             state_dict}}, FILE)"
        ))
    }

    /// Refuses a file that would run code.
    fn accuse<T>(&mut self, text: String) -> Result<T> {
        self.accusation = Some(text.clone());
        bail!(text)
    }

    pub(super) fn push_global(&mut self, module: &str, name: &str) -> Result<()> {
        let name = full_name(module, name);
        match judge(&name) {
            Verdict::Known(global) => self.push(Value::Global(global)),
            Verdict::Dangerous => self.accuse(format!(
                "loading it in Python would run code: it calls {name}, which no weight file \
                 needs; refused, nothing was executed (do not load this file elsewhere)"
            )),
            Verdict::Foreign => {
                let name: Rc<str> = name.into();
                if name.starts_with("torch.nn.modules.") {
                    self.module.get_or_insert_with(|| name.clone());
                }
                self.foreign.get_or_insert_with(|| name.clone());
                self.push(Value::Foreign(name))
            }
        }
    }

    /// Refuses the call of a function that is not known. A class only makes an object.
    fn call_foreign(&mut self, name: Rc<str>) -> Result<()> {
        if is_class(&name) || self.module.is_some() {
            return self.push(Value::Object(name));
        }
        if &*name == "torch.storage._load_from_bytes" {
            return self.accuse(
                "its tensors are files within a bare pickle (pickle.dump), not what torch.save \
                 writes: refused, nothing was executed; in Python, torch.save(state_dict, FILE)"
                    .into(),
            );
        }
        self.accuse(format!(
            "loading it in Python would call {name}, which no weight file needs: refused, nothing \
             was executed; load it only where you trust whom it comes from"
        ))
    }
}

/// Calls.
impl Unpickler<'_> {
    /// What a call gives.
    pub(super) fn call(&mut self, callee: Value, arguments: Value) -> Result<()> {
        let (mut callee, mut arguments) = (callee, arguments);
        for _ in 0..MAX_NESTED_CALLS {
            if !Self::is_global(&callee, Global::FromType) {
                return self.call_once(callee, arguments);
            }
            let given = self.first_items(&arguments, 3)?;
            let [function, _, inner] = given.try_into().ok().context("a call lacks arguments")?;
            (callee, arguments) = (function, inner);
        }
        bail!("the pickle nests calls in a way no weight file does")
    }

    fn call_once(&mut self, callee: Value, arguments: Value) -> Result<()> {
        let global = match callee {
            Value::Global(global) => global,
            Value::Foreign(name) => return self.call_foreign(name),
            _ => bail!("the pickle calls what is no function"),
        };
        let given = self.first_items(&arguments, MAX_ARGUMENTS)?;
        match global {
            Global::Dictionary => self.make_dictionary(given.first()),
            Global::DefaultDictionary => self.make_dictionary(given.get(1)),
            Global::Set => self.make_items(given.first(), Value::Set),
            Global::List => self.make_items(given.first(), Value::List),
            Global::Tuple => self.make_items(given.first(), Value::Tuple),
            Global::TypedTensor => self.make_typed_tensor(&given),
            Global::UntypedTensor => self.make_untyped_tensor(&given),
            Global::FirstArgument => {
                let first = given.into_iter().next();
                self.push(first.context("a call lacks its argument")?)
            }
            Global::Reconstructor => {
                let class = given.into_iter().next();
                self.construct(class.context("a call lacks its class")?, arguments)
            }
            Global::Plain(name) => self.push(Value::Object(name.into())),
            Global::FromType | Global::Storage(_) | Global::UntypedStorage | Global::Dtype(_) => {
                bail!("the pickle calls a type in a way no weight file does")
            }
        }
    }

    /// An object as `class.__new__` makes it.
    pub(super) fn construct(&mut self, class: Value, arguments: Value) -> Result<()> {
        match class {
            Value::Foreign(name) => self.push(Value::Object(name)),
            // `Parameter.__new__` takes the tensor.
            Value::Global(Global::Plain("torch.nn.parameter.Parameter")) => {
                let given = self.first_items(&arguments, 1)?;
                self.push(given.into_iter().next().context("a parameter of nothing")?)
            }
            class => self.call(class, arguments),
        }
    }

    /// Sets the state of what is on the stack. An object's state is left aside with it; a
    /// dictionary's is torch's `_metadata`, a tensor's an attribute of somebody's, neither of which
    /// concerns the numbers.
    pub(super) fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let is_module = self.has_key(&state, &MODULE_STATE);
        match self.stack.last() {
            Some(Value::Object(class)) => {
                let class = class.clone();
                if is_module {
                    self.module.get_or_insert(class);
                }
                Ok(())
            }
            Some(Value::Dict(_) | Value::Tensor(_) | Value::List(_) | Value::Set(_)) => Ok(()),
            _ => bail!("the pickle sets the state of what is no object"),
        }
    }
}

/// Plain values that calls make.
impl Unpickler<'_> {
    /// A dictionary of another one, or of a list of pairs.
    fn make_dictionary(&mut self, given: Option<&Value>) -> Result<()> {
        let mut items = Vec::new();
        match given {
            Some(Value::Dict(index)) => return self.push(Value::Dict(*index)),
            Some(Value::List(index) | Value::Tuple(index)) => {
                for pair in self.items_at(*index) {
                    let pair = self.first_items(pair, 3)?;
                    ensure!(pair.len() == 2, "a dictionary is made of what are no pairs");
                    items.extend(pair);
                }
            }
            // A default or an iterator: an empty dictionary, filled by what follows.
            _ => {}
        }
        self.count(items.len())?;
        self.push_dict()?;
        self.set_items(items)
    }

    /// A list, tuple or set of the items of another one; they share them.
    fn make_items(&mut self, given: Option<&Value>, make: fn(usize) -> Value) -> Result<()> {
        match given {
            Some(Value::List(index) | Value::Tuple(index) | Value::Set(index)) => {
                self.push(make(*index))
            }
            _ => self.push_items(Vec::new(), make),
        }
    }
}

/// Tensors and storages.
impl Unpickler<'_> {
    /// The sizes or strides in a tuple.
    fn sizes(&self, value: &Value) -> Result<Vec<i64>> {
        let mut sizes = Vec::new();
        let items = self.first_items(value, MAX_DIMENSIONS + 1)?;
        ensure!(
            items.len() <= MAX_DIMENSIONS,
            "a tensor of too many dimensions"
        );
        for item in items {
            match item {
                Value::Int(size) if size >= 0 => sizes.push(size),
                _ => bail!("a size or stride is no whole number of at least 0"),
            }
        }
        Ok(sizes)
    }

    /// `(storage, offset, size, stride, requires_grad, hooks, metadata)`.
    fn make_typed_tensor(&mut self, given: &[Value]) -> Result<()> {
        let (view, metadata) = (given.get(..4), given.get(6));
        let Some([Value::Storage(storage), offset, size, stride]) = view else {
            bail!("a tensor is made of something other than a storage, an offset and sizes");
        };
        let element = self.storages[*storage].element;
        self.push_view(*storage, element, [offset, size, stride], metadata)
    }

    /// `(storage, offset, size, stride, requires_grad, hooks, type, metadata)`.
    fn make_untyped_tensor(&mut self, given: &[Value]) -> Result<()> {
        let (view, metadata) = (given.get(..4), given.get(7));
        let dtype = given.get(6);
        let Some([Value::Storage(storage), offset, size, stride]) = view else {
            bail!("a tensor is made of something other than a storage, an offset and sizes");
        };
        let Some(Value::Global(Global::Dtype(element))) = dtype else {
            bail!("a tensor has no type");
        };
        self.push_view(*storage, *element, [offset, size, stride], metadata)
    }

    fn push_view(
        &mut self,
        storage: usize,
        element: Element,
        [offset, size, stride]: [&Value; 3],
        metadata: Option<&Value>,
    ) -> Result<()> {
        let Value::Int(offset) = offset else {
            bail!("a tensor's offset is no number");
        };
        // The bits say that numbers are to be conjugated or negated when they are read.
        if metadata.is_some_and(|bits| self.has_key(bits, &["conj", "neg"])) {
            return self.push(Value::Object("a view of conjugated numbers".into()));
        }
        let view = TensorView {
            storage,
            element,
            offset: usize::try_from(*offset).context("a negative storage offset")?,
            size: self.sizes(size)?,
            stride: self.sizes(stride)?,
        };
        self.push(Value::Tensor(Rc::new(view)))
    }

    /// A persistent id: in weight files a storage, in those of whole modules a class with its
    /// source.
    pub(super) fn push_persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let items = self.first_items(&id, 6)?;
        match items.as_slice() {
            [Value::Text(what), class @ Value::Foreign(name), ..] if &**what == "module" => {
                self.module.get_or_insert_with(|| name.clone());
                self.push(class.clone())
            }
            [
                Value::Text(what),
                Value::Global(class),
                Value::Text(key),
                _,
                Value::Int(count),
                rest @ ..,
            ] if &**what == "storage" && rest.first().is_none_or(|view| *view == Value::None) => {
                let element = match class {
                    Global::Storage(element) => *element,
                    Global::UntypedStorage => Element::Plain(Kind::Uint8),
                    _ => bail!("a storage of no type of numbers"),
                };
                let count = usize::try_from(*count).context("a negative storage size")?;
                let index = self.add_storage(Storage {
                    key: key.clone(),
                    element,
                    count,
                })?;
                self.push(Value::Storage(index))
            }
            _ => bail!("a persistent id is not (storage, type, key, location, count)"),
        }
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
}
