//! PyTorch's format before version 1.6: five pickles in a row (a magic number, the protocol, facts
//! about the machine, the weights, the storages' keys), then the storages in the order of the keys.

use super::contents::describe;
use super::pickle::{self, Pickle, Storage, Value};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;

/// The number 0x1950a86a20f9469cfc6c in front, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The only protocol that PyTorch has written.
const PROTOCOL: i64 = 1001;

/// The bytes of every storage, by its key.
pub(super) type Storages<'a> = HashMap<String, &'a [u8]>;

/// The pickle of the weights in the bytes of a file, and its storages.
pub(super) fn open(bytes: &[u8]) -> Result<(Pickle, Storages<'_>)> {
    let mut rest = bytes;
    let magic = next_pickle(&mut rest)?;
    ensure!(
        matches!(&magic.top, Value::Long(b) if **b == MAGIC),
        "a bare pickle (pickle.dump) of {}, not a PyTorch checkpoint: in Python, \
         torch.save(state_dict, FILE)",
        describe(&magic, &magic.top)
    );
    let version = next_pickle(&mut rest)?;
    ensure!(
        version.top == Value::Int(PROTOCOL),
        "a legacy checkpoint of protocol {}, expected {PROTOCOL}",
        describe(&version, &version.top)
    );
    let _machine = next_pickle(&mut rest)?;
    let main = next_pickle(&mut rest)?;
    let keys = next_pickle(&mut rest)?;
    let keys = keys.items(&keys.top).context("no list of storages")?;
    let mut known = HashMap::new();
    for storage in &main.storages {
        known.insert(&*storage.key, storage);
    }
    let mut storages = HashMap::new();
    for key in keys {
        let Value::Text(key) = key else {
            bail!("a storage without a name")
        };
        let storage = known.get(&**key);
        let storage = storage.with_context(|| format!("storage {key} belongs to no tensor"))?;
        storages.insert(key.to_string(), next_storage(storage, &mut rest)?);
    }
    Ok((main, storages))
}

/// Reads the pickle at the start of `rest` and takes it off.
fn next_pickle(rest: &mut &[u8]) -> Result<Pickle> {
    let (pickle, length) = pickle::read(rest)?;
    *rest = &rest[length..];
    Ok(pickle)
}

/// Takes a storage's bytes off the start of `rest`, where its number of elements stands before
/// them.
fn next_storage<'a>(storage: &Storage, rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let key = &storage.key;
    let (count, after) = rest
        .split_first_chunk::<8>()
        .context("truncated: a storage has no size")?;
    ensure!(
        u64::from_le_bytes(*count) == storage.count as u64,
        "storage {key} states two sizes"
    );
    let length = storage
        .size_in_bytes()
        .filter(|length| *length <= after.len());
    let length = length.with_context(|| format!("truncated: storage {key} is not all there"))?;
    let (bytes, after) = after.split_at(length);
    *rest = after;
    Ok(bytes)
}
