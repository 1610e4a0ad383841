//! Ways in which keys of networks are written.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// Reads a list of numbers, or one text of them between commas, as guided-diffusion's flags have
/// it; an empty text is an empty list.
pub(super) fn text_or_list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de> + FromStr,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(TextOrList(PhantomData))
}

struct TextOrList<T>(PhantomData<T>);

impl<T: FromStr> TextOrList<T> {
    fn number<E: Error>(text: &str) -> Result<T, E> {
        let number = text.trim().parse();
        number.map_err(|_| E::custom(format!("{text:?} is no number of a list such as \"16,8\"")))
    }
}

impl<'de, T: Deserialize<'de> + FromStr> Visitor<'de> for TextOrList<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of numbers, or a text such as \"16,8\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(Self::number).collect()
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<T>, E> {
        Ok(vec![Self::number(&number.to_string())?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = sequence.next_element()? {
            numbers.push(number);
        }
        Ok(numbers)
    }
}

/// Whether a flag is off, so that it need not be written.
pub(super) fn is_off(flag: &bool) -> bool {
    !flag
}

/// Whether a flag is on.
pub(super) fn is_on(flag: &bool) -> bool {
    *flag
}
