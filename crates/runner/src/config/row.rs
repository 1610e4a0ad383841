//! One row of a table: a method and its settings. Each method has its own keys (in its file of the
//! sampler), so that a key its method would ignore cannot be written.
//!
//! The same type serves as what people write and, once [`crate::plan::settings::settle`] has filled
//! in what depends on the task, as what decides a job's images.

use crate::yaml::in_words;
use egsde_sampler::method::MethodConfig;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_yaml::{Mapping, Value};
use std::collections::BTreeMap;
use std::fmt;

/// What a sweep gave one row, by key: for its name and for curves.
pub type Varied = BTreeMap<String, String>;

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its heading; unique in an experiment.
    pub name: String,
    /// The method with its settings.
    pub method: MethodConfig,
    /// What a sweep gave it.
    pub varied: Varied,
    /// The row from which a sweep made it.
    pub base: Option<String>,
}

/// Reads a method's keys. Reading from a tree of values loses the place of a mistake, so the error
/// is taken from a second reading, from text, which names the key.
fn read_method(keys: Mapping) -> Result<MethodConfig, String> {
    let keys = Value::Mapping(keys);
    let error = match serde_yaml::from_value(keys.clone()) {
        Ok(method) => return Ok(method),
        Err(error) => error,
    };
    let text = serde_yaml::to_string(&keys).map_err(|error| error.to_string())?;
    let error = serde_yaml::from_str::<MethodConfig>(&text)
        .err()
        .unwrap_or(error)
        .to_string();
    let message = error
        .rsplit_once(" at line ")
        .map_or(error.as_str(), |(message, _)| message);
    Err(in_words(message))
}

/// Reads a row inside the visitor, so that an error carries the row's line.
struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a row: name, method and the method's keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let (mut keys, mut name) = (Mapping::new(), None);
        while let Some(key) = map.next_key::<String>()? {
            // A name is text, whatever YAML takes it for (`name: 2024`).
            let is_new = if key == "name" {
                name.replace(map.next_value::<String>()?).is_none()
            } else {
                let value: Value = map.next_value()?;
                keys.insert(key.as_str().into(), value).is_none()
            };
            if !is_new {
                return Err(A::Error::custom(format!("a row gives `{key}` twice")));
            }
        }
        let name = name.filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| A::Error::custom("a row has no name"))?;
        let method =
            read_method(keys).map_err(|e| A::Error::custom(format!("row {name:?}: {e}")))?;
        Ok(Row {
            name,
            method,
            varied: Varied::new(),
            base: None,
        })
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Ok(Value::Mapping(method)) = serde_yaml::to_value(&self.method) else {
            return Err(S::Error::custom("a method is a mapping"));
        };
        let mut keys = Mapping::new();
        keys.insert("name".into(), self.name.as_str().into());
        keys.extend(method);
        keys.serialize(serializer)
    }
}
