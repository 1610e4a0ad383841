//! Weight files as published: safetensors, PyTorch's zip and legacy formats. Nothing in a file is ever executed,
//! and sizes stated in a file are held against the file's own size before memory is taken.

mod pickle;

use crate::weights::{WeightFile, parse_safetensors};
use anyhow::{Context, Result, bail, ensure};
use pickle::{Node, Pickle, Storage, Value, View};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::path::Path;
use tch::{Kind, Tensor};
use zip::{CompressionMethod, ZipArchive};

/// Which weights of a file that holds several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// The only ones, or of ddim's list `[model, optimiser, epoch, step, ema]` the first entry.
    #[default]
    Model,
    /// The moving average: the last entry of ddim's list.
    Ema,
}

/// Reads a weight file of any known format. Keys lose a leading `module.`; the error names the file.
pub fn read_weights(path: &Path, which: Which) -> Result<WeightFile> {
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read weights {}", path.display()))?;
    parse_weights(&bytes, which)
        .with_context(|| format!("{} is not a usable weight file", path.display()))
}

/// The same from memory.
pub fn parse_weights(bytes: &[u8], which: Which) -> Result<WeightFile> {
    if looks_like_safetensors(bytes) {
        ensure!(
            which == Which::Model,
            "a safetensors file holds one set of weights, there is no EMA to choose"
        );
        return parse_safetensors(bytes);
    }
    match bytes {
        [b'P', b'K', 3, 4, ..] => from_zip(bytes, which),
        [0x80, 2..=5, ..] => from_legacy(bytes, which),
        [] => bail!("the file is empty"),
        [b'<', ..] => bail!(
            "it is a web page, not weights: the download failed (a quota or a login); fetch it again"
        ),
        _ => bail!(
            "it is neither safetensors nor a PyTorch checkpoint (first bytes {:02x?})",
            &bytes[..bytes.len().min(8)]
        ),
    }
}

fn looks_like_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    u64::from_le_bytes(*length) <= rest.len() as u64 && rest.first() == Some(&b'{')
}

fn entry(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, limit: usize) -> Result<Vec<u8>> {
    let mut file = archive
        .by_name(name)
        .with_context(|| format!("no entry {name}"))?;
    // PyTorch stores without compression, so no entry can be larger than the file: no unpacking bombs.
    ensure!(
        file.compression() == CompressionMethod::Stored,
        "entry {name} is compressed, PyTorch stores plainly"
    );
    ensure!(
        file.size() <= limit as u64,
        "entry {name} claims {} bytes, the whole file has {limit}",
        file.size()
    );
    let mut bytes = Vec::with_capacity(file.size() as usize);
    file.read_to_end(&mut bytes)
        .with_context(|| format!("entry {name} is damaged"))?;
    Ok(bytes)
}

fn from_zip(bytes: &[u8], which: Which) -> Result<WeightFile> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .context("a truncated or damaged zip archive: fetch it again")?;
    let main = archive
        .file_names()
        .find(|n| n.ends_with("/data.pkl") || *n == "data.pkl")
        .context("no data.pkl inside")?
        .to_string();
    let folder = main.trim_end_matches("data.pkl").to_string();
    if let Ok(order) = entry(&mut archive, &format!("{folder}byteorder"), bytes.len()) {
        ensure!(order == b"little", "big-endian weights are not supported");
    }
    let (pickle, _) = pickle::read(&entry(&mut archive, &main, bytes.len())?)?;
    let data = |storage: &Storage| {
        entry(
            &mut archive,
            &format!("{folder}data/{}", storage.key),
            bytes.len(),
        )
    };
    collect(&pickle, which, data)
}

/// The number PyTorch puts in front of its legacy files.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

fn from_legacy(bytes: &[u8], which: Which) -> Result<WeightFile> {
    let mut at = 0;
    let mut next = || {
        let (pickle, length) = pickle::read(&bytes[at..])?;
        at += length;
        anyhow::Ok((pickle, at))
    };
    let (magic, _) = next()?;
    ensure!(
        matches!(&magic.top, Value::Long(b) if *b == MAGIC),
        "a bare pickle, not a PyTorch checkpoint"
    );
    let (version, _) = next()?;
    ensure!(
        version.top == Value::Int(1001),
        "legacy checkpoint of protocol {:?}, expected 1001",
        version.top
    );
    next()?;
    let (main, _) = next()?;
    let (keys, end) = next()?;
    let mut rest = &bytes[end..];
    let mut found: HashMap<String, Vec<u8>> = HashMap::new();
    let Value::List(node) = keys.top else {
        bail!("no list of storages")
    };
    let Node::Items(keys) = &keys.nodes[node] else {
        bail!("no list of storages")
    };
    for key in keys {
        let Value::Text(key) = key else {
            bail!("a storage without a name")
        };
        let storage = main
            .storages
            .iter()
            .find(|s| s.key == *key)
            .with_context(|| format!("storage {key} is nobody's"))?;
        let (count, after) = rest
            .split_first_chunk::<8>()
            .context("truncated: a storage has no size")?;
        ensure!(
            u64::from_le_bytes(*count) == storage.count as u64,
            "storage {key} states two sizes"
        );
        let length = storage
            .count
            .checked_mul(storage.kind.elt_size_in_bytes())
            .filter(|l| *l <= after.len());
        let length =
            length.with_context(|| format!("truncated: storage {key} is not all there"))?;
        found.insert(key.clone(), after[..length].to_vec());
        rest = &after[length..];
    }
    collect(&main, which, |s| {
        found
            .remove(&s.key)
            .with_context(|| format!("storage {} is missing", s.key))
    })
}

/// The dictionary of weights in what the file holds.
fn state_dict(pickle: &Pickle, which: Which) -> Result<&[(Value, Value)]> {
    let pairs = |value: &Value| match value {
        Value::Dict(node) => match &pickle.nodes[*node] {
            Node::Pairs(pairs) => Ok(pairs.as_slice()),
            Node::Items(_) => bail!("expected a dictionary of weights"),
        },
        other => bail!("expected a dictionary of weights, found {other:?}"),
    };
    let chosen = match (&pickle.top, which) {
        (Value::List(node) | Value::Tuple(node), _) => {
            let Node::Items(items) = &pickle.nodes[*node] else {
                bail!("expected a list")
            };
            let of = match which {
                Which::Model => items.first(),
                Which::Ema => items.get(4),
            };
            of.with_context(|| {
                format!("the list of {} entries holds no such weights", items.len())
            })?
        }
        (top, Which::Model) => top,
        (_, Which::Ema) => bail!("this file holds one set of weights, there is no EMA to choose"),
    };
    let found = pairs(chosen)?;
    // `{"state_dict": {...}}`, as Lightning and others save.
    let inner = found
        .iter()
        .find(|(k, v)| *k == Value::Text("state_dict".into()) && matches!(v, Value::Dict(_)));
    inner.map_or(Ok(found), |(_, v)| pairs(v))
}

fn storage_tensor(
    storage: &Storage,
    data: &mut impl FnMut(&Storage) -> Result<Vec<u8>>,
) -> Result<Tensor> {
    let bytes = data(storage)?;
    let length = storage.count.checked_mul(storage.kind.elt_size_in_bytes());
    ensure!(
        length == Some(bytes.len()),
        "storage {} has {} bytes, {} elements were stated",
        storage.key,
        bytes.len(),
        storage.count
    );
    Ok(Tensor::f_from_data_size(
        &bytes,
        &[storage.count as i64],
        storage.kind,
    )?)
}

/// Weights that share storage do so a few times at most.
const VIEWS_OF_A_STORAGE: i64 = 4;

fn collect(
    pickle: &Pickle,
    which: Which,
    mut data: impl FnMut(&Storage) -> Result<Vec<u8>>,
) -> Result<WeightFile> {
    let mut loaded: HashMap<usize, Tensor> = HashMap::new();
    let mut tensors = BTreeMap::new();
    let (mut stored, mut copied) = (0, 0);
    for (key, value) in state_dict(pickle, which)? {
        let Value::Text(key) = key else {
            bail!("a weight's name is {key:?}")
        };
        let Value::View(view) = value else {
            bail!("{key} is no tensor")
        };
        let loaded_before = loaded.contains_key(&view.storage);
        let storage = match loaded.entry(view.storage) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(empty) => {
                empty.insert(storage_tensor(&pickle.storages[view.storage], &mut data)?)
            }
        };
        // Many names on one large storage must not unfold into more memory than the file is worth.
        copied += view
            .size
            .iter()
            .fold(1i64, |n, s| n.saturating_mul(*s))
            .max(0)
            .min(storage.numel() as i64);
        stored += if loaded_before {
            0
        } else {
            storage.numel() as i64
        };
        ensure!(
            copied <= stored.saturating_mul(VIEWS_OF_A_STORAGE),
            "its views unfold into {copied} elements, its storages hold {stored}"
        );
        let name = key.strip_prefix("module.").unwrap_or(key);
        let tensor = materialise(storage, view).with_context(|| key.clone())?;
        ensure!(
            tensors.insert(name.to_string(), tensor).is_none(),
            "{name} stands twice"
        );
    }
    ensure!(!tensors.is_empty(), "it holds no weights");
    Ok(WeightFile {
        tensors,
        metadata: BTreeMap::new(),
    })
}

/// A contiguous copy of a view that is known to stay inside its storage.
fn materialise(storage: &Tensor, view: &View) -> Result<Tensor> {
    ensure!(
        view.size.len() == view.stride.len(),
        "{} sizes, {} strides",
        view.size.len(),
        view.stride.len()
    );
    let count = view
        .size
        .iter()
        .try_fold(1i64, |n, s| n.checked_mul(*s))
        .context("a size that overflows")?;
    let reach = |sum: Option<i64>, (size, stride): (&i64, &i64)| {
        sum?.checked_add((size - 1).max(0).checked_mul(*stride)?)
    };
    let last = view
        .size
        .iter()
        .zip(&view.stride)
        .fold(Some(view.offset as i64), reach);
    let inside = last.is_some_and(|l| l >= 0 && l < storage.numel() as i64);
    ensure!(
        count == 0 || inside,
        "a view reaches outside its storage of {}",
        storage.numel()
    );
    // An expanded view (stride 0) may hold more elements than its storage: no weight does.
    ensure!(
        count <= storage.numel() as i64,
        "a view of {count} elements on a storage of {}",
        storage.numel()
    );
    let strided = storage.f_as_strided(
        view.size.as_slice(),
        view.stride.as_slice(),
        view.offset as i64,
    )?;
    Ok(strided.contiguous())
}

/// Turns 16-bit and double entries into float32; integers stay.
pub fn in_float32(file: WeightFile) -> WeightFile {
    let convert = |t: Tensor| {
        if t.is_floating_point() {
            t.to_kind(Kind::Float)
        } else {
            t
        }
    };
    WeightFile {
        tensors: file
            .tensors
            .into_iter()
            .map(|(k, t)| (k, convert(t)))
            .collect(),
        metadata: file.metadata,
    }
}
