//! Types of numbers in weight files, under PyTorch's names.

use anyhow::{Context, Result, bail};
use tch::{Kind, Tensor};

/// A type of numbers, as PyTorch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Element {
    /// One that this program computes with.
    Plain(Kind),
    /// Read as `int32`, which holds every value.
    Uint16,
    /// Read as `int64`, which holds every value.
    Uint32,
    /// Read as `int64`, where every value fits.
    Uint64,
    /// One that no weights here have: bytes that are never read as numbers.
    Unread {
        /// PyTorch's name.
        name: &'static str,
        /// Bytes of one element.
        size: usize,
    },
}

/// The types with PyTorch's names: of the type, and of the storages that hold it (none where
/// PyTorch has no storage of that type).
const ELEMENTS: [(&str, Option<&str>, Element); 19] = [
    ("float64", Some("Double"), Element::Plain(Kind::Double)),
    ("float32", Some("Float"), Element::Plain(Kind::Float)),
    ("float16", Some("Half"), Element::Plain(Kind::Half)),
    ("bfloat16", Some("BFloat16"), Element::Plain(Kind::BFloat16)),
    ("int64", Some("Long"), Element::Plain(Kind::Int64)),
    ("int32", Some("Int"), Element::Plain(Kind::Int)),
    ("int16", Some("Short"), Element::Plain(Kind::Int16)),
    ("int8", Some("Char"), Element::Plain(Kind::Int8)),
    ("uint8", Some("Byte"), Element::Plain(Kind::Uint8)),
    ("bool", Some("Bool"), Element::Plain(Kind::Bool)),
    (
        "complex64",
        Some("ComplexFloat"),
        Element::Plain(Kind::ComplexFloat),
    ),
    (
        "complex128",
        Some("ComplexDouble"),
        Element::Plain(Kind::ComplexDouble),
    ),
    ("uint16", None, Element::Uint16),
    ("uint32", None, Element::Uint32),
    ("uint64", None, Element::Uint64),
    ("float8_e5m2", None, Element::Plain(Kind::Float8e5m2)),
    ("float8_e4m3fn", None, Element::Plain(Kind::Float8e4m3fn)),
    (
        "float8_e5m2fnuz",
        None,
        Element::Plain(Kind::Float8e5m2fnuz),
    ),
    (
        "float8_e4m3fnuz",
        None,
        Element::Plain(Kind::Float8e4m3fnuz),
    ),
];

/// Types that PyTorch's reader of weights knows and no weights here have: name, storage, bytes of
/// one element.
const UNREAD: [(&str, Option<&str>, usize); 27] = [
    ("complex32", Some("ComplexHalf"), 4),
    ("qint8", Some("QInt8"), 1),
    ("quint8", Some("QUInt8"), 1),
    ("qint32", Some("QInt32"), 4),
    ("quint4x2", Some("QUInt4x2"), 1),
    ("quint2x4", Some("QUInt2x4"), 1),
    ("bits8", None, 1),
    ("bits16", None, 2),
    ("bits1x8", None, 1),
    ("bits2x4", None, 1),
    ("bits4x2", None, 1),
    ("float8_e8m0fnu", None, 1),
    ("float4_e2m1fn_x2", None, 1),
    ("uint1", None, 1),
    ("uint2", None, 1),
    ("uint3", None, 1),
    ("uint4", None, 1),
    ("uint5", None, 1),
    ("uint6", None, 1),
    ("uint7", None, 1),
    ("int1", None, 1),
    ("int2", None, 1),
    ("int3", None, 1),
    ("int4", None, 1),
    ("int5", None, 1),
    ("int6", None, 1),
    ("int7", None, 1),
];

impl Element {
    /// The type of PyTorch's name, for example `float32`.
    pub fn from_name(name: &str) -> Option<Self> {
        let known = ELEMENTS.iter().find(|(known, ..)| *known == name);
        let known = known.map(|(_, _, element)| *element);
        known.or_else(|| {
            let unread = UNREAD.iter().find(|(known, ..)| *known == name);
            unread.map(|&(name, _, size)| Self::Unread { name, size })
        })
    }

    /// The type of a storage class, for example of `FloatStorage`.
    pub fn from_storage_class(class: &str) -> Option<Self> {
        let class = class.strip_suffix("Storage")?;
        let known = ELEMENTS
            .iter()
            .find(|(_, storage, _)| *storage == Some(class));
        let known = known.map(|(_, _, element)| *element);
        known.or_else(|| {
            let unread = UNREAD
                .iter()
                .find(|(_, storage, _)| *storage == Some(class));
            unread.map(|&(name, _, size)| Self::Unread { name, size })
        })
    }

    /// PyTorch's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unread { name, .. } => name,
            Self::Plain(_) | Self::Uint16 | Self::Uint32 | Self::Uint64 => {
                let own = ELEMENTS.iter().find(|(.., element)| *element == self);
                own.map_or("a type that PyTorch does not name", |(name, ..)| name)
            }
        }
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::Plain(kind) => kind.elt_size_in_bytes(),
            Self::Uint16 => 2,
            Self::Uint32 => 4,
            Self::Uint64 => 8,
            Self::Unread { size, .. } => size,
        }
    }

    /// Little-endian numbers as a tensor of this shape; numbers without sign that libtorch's
    /// binding does not have become wider ones. Errors where the type is not one of numbers here,
    /// or a number does not fit.
    pub fn tensor(self, bytes: &[u8], shape: &[i64]) -> Result<Tensor> {
        match self {
            Self::Plain(kind) => Ok(Tensor::f_from_data_size(bytes, shape, kind)?),
            Self::Uint16 => {
                let widened: Vec<i32> = chunks(bytes)
                    .map(|b| i32::from(u16::from_le_bytes(b)))
                    .collect();
                Ok(Tensor::f_from_slice(&widened)?.f_reshape(shape)?)
            }
            Self::Uint32 => {
                let widened: Vec<i64> = chunks(bytes)
                    .map(|b| i64::from(u32::from_le_bytes(b)))
                    .collect();
                Ok(Tensor::f_from_slice(&widened)?.f_reshape(shape)?)
            }
            Self::Uint64 => {
                let mut numbers = Vec::with_capacity(bytes.len() / 8);
                for number in chunks(bytes).map(u64::from_le_bytes) {
                    let fits = i64::try_from(number);
                    numbers.push(fits.with_context(|| format!("{number} is too large for int64"))?);
                }
                Ok(Tensor::f_from_slice(&numbers)?.f_reshape(shape)?)
            }
            Self::Unread { name, .. } => bail!("numbers of type {name} are not read here"),
        }
    }
}

/// The whole groups of `N` bytes in `bytes`.
fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_sign_keep_their_values() {
        let bytes = [255, 255, 1, 0];
        let tensor = Element::Uint16.tensor(&bytes, &[2]).unwrap();
        assert_eq!(Vec::<i32>::try_from(tensor).unwrap(), [65535, 1]);
        let tensor = Element::Uint32.tensor(&[255; 4], &[1]).unwrap();
        assert_eq!(Vec::<i64>::try_from(tensor).unwrap(), [4_294_967_295]);
        let tensor = Element::Uint64.tensor(&[7, 0, 0, 0, 0, 0, 0, 0], &[1]);
        assert_eq!(Vec::<i64>::try_from(tensor.unwrap()).unwrap(), [7]);
        let error = Element::Uint64.tensor(&[255; 8], &[1]).unwrap_err();
        assert!(error.to_string().contains("18446744073709551615"));
    }

    #[test]
    fn every_type_has_the_size_that_its_name_says() {
        for (name, _, element) in ELEMENTS {
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            let bits = match name {
                "bool" => 8,
                name if name.starts_with("float8") => 8,
                _ => digits.parse().unwrap(),
            };
            assert_eq!(8 * element.size(), bits, "{name}");
            assert_eq!(Element::from_name(name), Some(element));
            assert_eq!(element.name(), name);
        }
    }
}
