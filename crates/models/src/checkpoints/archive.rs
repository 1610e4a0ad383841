//! PyTorch's zip format: a pickle `data.pkl`, and a file `data/KEY` per storage.

use super::pickle::{self, Storage};
use super::{CheckpointPart, state_dict, storage_tensor};
use crate::weights::WeightFile;
use anyhow::{Context, Result, ensure};
use std::io::{Cursor, Read};
use zip::{CompressionMethod, ZipArchive};

/// Reads the weights in the bytes of an archive.
pub(super) fn parse(bytes: &[u8], part: CheckpointPart) -> Result<WeightFile> {
    let mut archive = Archive::open(bytes)?;
    if let Ok(order) = archive.entry("byteorder") {
        ensure!(order == b"little", "big-endian weights are not supported");
    }
    let (pickle, _) = pickle::read(&archive.entry("data.pkl")?)?;
    state_dict::collect(&pickle, part, |storage: &Storage| {
        storage_tensor(storage, &archive.entry(&format!("data/{}", storage.key))?)
    })
}

/// An archive, and the folder in it that holds everything.
struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// With its slash at the end; empty where there is none.
    folder: String,
    size: usize,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .context("a truncated or damaged zip archive: fetch it again")?;
        let main = zip
            .file_names()
            .find(|name| name.ends_with("/data.pkl") || *name == "data.pkl")
            .context("no data.pkl inside")?;
        let folder = main.trim_end_matches("data.pkl").to_string();
        Ok(Self {
            zip,
            folder,
            size: bytes.len(),
        })
    }

    /// The bytes of an entry of the folder.
    fn entry(&mut self, name: &str) -> Result<Vec<u8>> {
        let (name, limit) = (format!("{}{name}", self.folder), self.size);
        let mut file = self
            .zip
            .by_name(&name)
            .with_context(|| format!("no entry {name}"))?;
        // PyTorch stores without compression, so no entry can be larger than the file: a small file
        // that unpacks into more than the memory holds is refused here.
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
}
