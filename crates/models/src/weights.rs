//! safetensors in and out, and filling a network from named tensors with every mismatch named.

use crate::elements::Element;
use crate::fixed_entries::Entry;
use anyhow::{Context, Result, anyhow, bail};
use egsde_data::files::write_atomically;
use egsde_data::text::first_few;
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use serde::Deserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// Bytes of a safetensors file that tell how long its header is.
const LENGTH_BYTES: usize = 8;

/// Bytes of the longest header that a safetensors file may have: the format's own bound.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The content of a weight file.
#[derive(Debug, Default)]
pub struct WeightFile {
    /// Tensors by their state-dict key.
    pub tensors: BTreeMap<String, Tensor>,
    /// Texts by their key; only safetensors files have any.
    pub metadata: BTreeMap<String, String>,
}

/// Types of numbers in safetensors files.
const TYPES: [(Dtype, Element); 18] = [
    (Dtype::F64, Element::Plain(Kind::Double)),
    (Dtype::F32, Element::Plain(Kind::Float)),
    (Dtype::F16, Element::Plain(Kind::Half)),
    (Dtype::BF16, Element::Plain(Kind::BFloat16)),
    (Dtype::F8_E5M2, Element::Plain(Kind::Float8e5m2)),
    (Dtype::F8_E4M3, Element::Plain(Kind::Float8e4m3fn)),
    (Dtype::F8_E5M2FNUZ, Element::Plain(Kind::Float8e5m2fnuz)),
    (Dtype::F8_E4M3FNUZ, Element::Plain(Kind::Float8e4m3fnuz)),
    (Dtype::C64, Element::Plain(Kind::ComplexFloat)),
    (Dtype::I64, Element::Plain(Kind::Int64)),
    (Dtype::I32, Element::Plain(Kind::Int)),
    (Dtype::I16, Element::Plain(Kind::Int16)),
    (Dtype::I8, Element::Plain(Kind::Int8)),
    (Dtype::U8, Element::Plain(Kind::Uint8)),
    (Dtype::U16, Element::Uint16),
    (Dtype::U32, Element::Uint32),
    (Dtype::U64, Element::Uint64),
    (Dtype::BOOL, Element::Plain(Kind::Bool)),
];

/// The type of numbers that safetensors names.
pub(crate) fn element_from_dtype(dtype: Dtype) -> Result<Element> {
    let found = TYPES.iter().find(|(known, _)| *known == dtype);
    let found = found.with_context(|| format!("numbers of type {dtype} are not read here"))?;
    Ok(found.1)
}

fn dtype_from_kind(kind: Kind) -> Result<Dtype> {
    let element = Element::Plain(kind);
    let found = TYPES.iter().find(|(_, known)| *known == element);
    let found = found.with_context(|| {
        let name = element.name();
        format!("safetensors has no numbers of type {name}")
    })?;
    Ok(found.0)
}

/// Reads a safetensors file whole. Errors name the file.
pub fn read_safetensors(path: &Path) -> Result<WeightFile> {
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read weights {}", path.display()))?;
    parse_safetensors(&bytes)
        .with_context(|| format!("{} is not a usable safetensors file", path.display()))
}

/// The metadata in the header of a safetensors file, of which nothing more is read; none where the
/// file cannot be read, is of another kind, or has no metadata.
pub fn read_metadata(path: &Path) -> Option<BTreeMap<String, String>> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; LENGTH_BYTES];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return None;
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).ok()?;
    let mut header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    serde_json::from_value(header.get_mut("__metadata__")?.take()).ok()
}

/// Why the crate `safetensors` refuses a file, in words for people.
fn refusal(error: SafeTensorError) -> anyhow::Error {
    use SafeTensorError as E;
    let what = match error {
        E::HeaderTooSmall | E::InvalidHeaderLength | E::MetadataIncompleteBuffer => {
            "it has fewer or more bytes than its tensors take".into()
        }
        E::InvalidHeader(_) | E::InvalidHeaderDeserialization(_) | E::JsonError(_) => {
            "its list of tensors is damaged".into()
        }
        E::HeaderTooLarge => "its list of tensors is too long to be one".into(),
        E::InvalidOffset(name) => format!("the bytes of tensor {name} are not where they must be"),
        E::TensorInvalidInfo | E::ValidationOverflow => {
            "a tensor's shape does not fit its bytes".into()
        }
        other => other.to_string(),
    };
    anyhow!("{what}: fetch or write it again")
}

/// The keys of a header, each of which may stand once.
struct DistinctKeys;

impl<'de> Visitor<'de> for DistinctKeys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("tensors by their names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if seen.contains(&key) {
                let text = format!("it has two tensors named {key}: which is meant is not known");
                return Err(A::Error::custom(text));
            }
            seen.insert(key);
        }
        Ok(())
    }
}

/// Refuses a header in which a name stands twice: the crate `safetensors` takes the last one.
fn check_distinct_keys(header: &[u8]) -> Result<()> {
    let mut header = serde_json::Deserializer::from_slice(header);
    let checked = header.deserialize_map(DistinctKeys);
    checked.map_err(|error| {
        anyhow!(
            "{}",
            error.to_string().split(" at line ").next().unwrap_or("")
        )
    })
}

/// Reads safetensors from memory; the crate of that name checks the sizes in the header against the
/// bytes.
pub fn parse_safetensors(bytes: &[u8]) -> Result<WeightFile> {
    let (length, header) = SafeTensors::read_metadata(bytes).map_err(refusal)?;
    check_distinct_keys(&bytes[LENGTH_BYTES..][..length])?;
    let metadata = header
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(bytes).map_err(refusal)?.tensors() {
        let tensor = copy_view(&view).with_context(|| format!("tensor {name}"))?;
        tensors.insert(name, tensor);
    }
    Ok(WeightFile { tensors, metadata })
}

fn copy_view(view: &TensorView) -> Result<Tensor> {
    let shape: Vec<i64> = view.shape().iter().map(|d| *d as i64).collect();
    element_from_dtype(view.dtype())?.tensor(view.data(), &shape)
}

/// The values of a tensor in row-major order, little-endian.
fn bytes_of_tensor(tensor: &Tensor) -> Result<Vec<u8>> {
    let tensor = tensor.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

/// The bytes of a safetensors file; floating-point tensors are stored as `kind`, the others as they
/// are.
pub fn to_safetensors(file: &WeightFile, kind: Kind) -> Result<Vec<u8>> {
    let mut stored = Vec::new();
    for (name, tensor) in &file.tensors {
        let tensor = if tensor.is_floating_point() {
            tensor.to_kind(kind)
        } else {
            tensor.shallow_clone()
        };
        let shape: Vec<usize> = tensor.size().iter().map(|d| *d as usize).collect();
        stored.push((
            name,
            dtype_from_kind(tensor.kind())?,
            shape,
            bytes_of_tensor(&tensor)?,
        ));
    }
    let mut views = Vec::new();
    for (name, dtype, shape, bytes) in &stored {
        views.push((
            name.as_str(),
            TensorView::new(*dtype, shape.clone(), bytes)?,
        ));
    }
    let metadata: HashMap<String, String> = file.metadata.clone().into_iter().collect();
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// Writes a safetensors file atomically, so that a reader never sees half of one. Floating-point
/// tensors are stored as `kind`.
pub fn write_safetensors(path: &Path, file: &WeightFile, kind: Kind) -> Result<()> {
    let bytes = to_safetensors(file, kind)?;
    write_atomically(path, &bytes)
}

/// `label` and the first names behind it, or nothing where there are none.
pub(crate) fn list_names(label: &str, names: &[String]) -> Option<String> {
    const MAX_NAMES: usize = 6;
    let listed = first_few(names.iter().cloned(), MAX_NAMES);
    (!names.is_empty()).then(|| format!("{label} {listed}"))
}

/// What keeps `tensors` from filling variables of these shapes: missing, unexpected and wrongly
/// shaped keys. `None` where they fit. Entries that are no weights (PyTorch's
/// `num_batches_tracked`, statistics that nothing uses, kernels that never change) are accepted,
/// kernels only with the values that they must have.
pub fn find_mismatches(
    variables: &BTreeMap<String, Vec<i64>>,
    tensors: &BTreeMap<String, Tensor>,
) -> Option<String> {
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for (key, expected) in variables {
        match tensors.get(key).map(Tensor::size) {
            None => missing.push(key.clone()),
            Some(size) if size != *expected => {
                misshapen.push(format!("{key} ({size:?}, expected {expected:?})"));
            }
            Some(_) => {}
        }
    }
    let (mut unexpected, mut other_kernels) = (Vec::new(), Vec::new());
    for (key, tensor) in tensors {
        match Entry::classify(key, tensor, variables) {
            Entry::Weight | Entry::Unused | Entry::FixedKernel => {}
            Entry::OtherKernel => other_kernels.push(key.clone()),
            Entry::Unexpected => unexpected.push(key.clone()),
        }
    }
    let lists = [
        list_names("missing", &missing),
        list_names("unexpected", &unexpected),
        list_names("wrong shape", &misshapen),
        list_names("not the kernel of this network", &other_kernels),
    ];
    let problems: Vec<String> = lists.into_iter().flatten().collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// Keys of tensors that hold NaN or infinity.
pub fn find_non_finite(tensors: &BTreeMap<String, Tensor>) -> Vec<&str> {
    let mut keys = Vec::new();
    for (key, tensor) in tensors {
        if tensor.is_floating_point() && tensor.isfinite().all().int64_value(&[]) == 0 {
            keys.push(key.as_str());
        }
    }
    keys
}

/// Fills every variable of `vs` from `tensors`. Nothing changes unless all keys and shapes agree
/// and all numbers are finite; the error names the keys that stand against it.
pub fn assign(vs: &VarStore, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
    let shapes = variables
        .iter()
        .map(|(key, v)| (key.clone(), v.size()))
        .collect();
    if let Some(problems) = find_mismatches(&shapes, tensors) {
        bail!("the weights do not fit the network: {problems}");
    }
    if let Some(key) = find_non_finite(tensors).first() {
        bail!("the weights hold NaN or infinity, first in {key}");
    }
    tch::no_grad(|| {
        for (name, mut variable) in variables {
            variable.copy_(&tensors[&name]);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of variables `a` `[2, 3]` and `b.weight` `[4]`, all zero.
    fn tiny_store() -> VarStore {
        let vs = VarStore::new(Device::Cpu);
        let root = vs.root();
        let _ = root.zeros("a", &[2, 3]);
        let _ = (&root / "b").zeros("weight", &[4]);
        vs
    }

    fn named<const N: usize>(tensors: [(&str, Tensor); N]) -> BTreeMap<String, Tensor> {
        tensors
            .map(|(name, tensor)| (name.to_string(), tensor))
            .into()
    }

    fn ones(shape: &[i64]) -> Tensor {
        Tensor::ones(shape, (Kind::Float, Device::Cpu))
    }

    /// A safetensors file of this header and four bytes of numbers.
    fn safetensors_file(header: &str) -> Vec<u8> {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &[0; 4]].concat()
    }

    #[test]
    fn a_damaged_safetensors_file_is_told_in_words() {
        const ONE: &str = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let whole = safetensors_file(ONE);
        assert_eq!(parse_safetensors(&whole).unwrap().tensors.len(), 1);
        let refused = |bytes: &[u8]| format!("{:#}", parse_safetensors(bytes).unwrap_err());
        let cut = refused(&whole[..whole.len() - 2]);
        assert!(cut.starts_with("it has fewer or more bytes"), "{cut}");
        let negative = refused(&safetensors_file(&ONE.replace("[1]", "[-1]")));
        assert_eq!(
            negative,
            "its list of tensors is damaged: fetch or write it again"
        );
        let twice = ONE.replace(
            "}}",
            r#"},"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#,
        );
        let twice = refused(&safetensors_file(&twice));
        assert!(twice.starts_with("it has two tensors named a"), "{twice}");
    }

    #[test]
    fn a_mismatch_names_every_key_and_changes_nothing() {
        let vs = tiny_store();
        let tensors = named([("a", ones(&[3, 2])), ("c", ones(&[1]))]);
        let error = assign(&vs, &tensors).unwrap_err().to_string();
        for part in [
            "missing b.weight",
            "unexpected c",
            "wrong shape a ([3, 2], expected [2, 3])",
        ] {
            assert!(error.contains(part), "{part:?} not in {error:?}");
        }
        assert_eq!(vs.variables()["a"].sum(Kind::Float).double_value(&[]), 0.0);
    }

    #[test]
    fn a_file_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let tensors = named([
            ("x", Tensor::from_slice(&[0.5f32, -2.0, 3.25])),
            ("n", Tensor::from_slice(&[7i64])),
        ]);
        let metadata = BTreeMap::from([("steps".to_string(), "12".to_string())]);
        write_safetensors(&path, &WeightFile { tensors, metadata }, Kind::Half).unwrap();
        let back = read_safetensors(&path).unwrap();
        assert_eq!(back.metadata["steps"], "12");
        assert_eq!(read_metadata(&path), Some(back.metadata));
        assert_eq!(back.tensors["x"].kind(), Kind::Half);
        let x = Vec::<f32>::try_from(back.tensors["x"].to_kind(Kind::Float)).unwrap();
        assert_eq!(x, [0.5, -2.0, 3.25]);
        assert_eq!(Vec::<i64>::try_from(&back.tensors["n"]).unwrap(), [7]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn weights_that_are_not_numbers_are_refused() {
        let vs = tiny_store();
        let bad = Tensor::from_slice(&[1f32, f32::NAN, 0.0, 0.0]);
        let tensors = named([("a", ones(&[2, 3])), ("b.weight", bad)]);
        let error = assign(&vs, &tensors).unwrap_err().to_string();
        assert!(
            error.contains("NaN") && error.contains("b.weight"),
            "{error}"
        );
    }

    #[test]
    fn a_truncated_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.safetensors");
        let tensors = named([("x", Tensor::from_slice(&[1f32; 64]))]);
        let file = WeightFile {
            tensors,
            ..Default::default()
        };
        let bytes = to_safetensors(&file, Kind::Float).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        let error = format!("{:#}", read_safetensors(&path).unwrap_err());
        assert!(error.contains("cut.safetensors"), "{error}");
    }
}
