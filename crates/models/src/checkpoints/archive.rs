//! PyTorch's zip format: a pickle `data.pkl`, and a file `data/KEY` per storage.

use super::file_kind::other_archive;
use super::pickle::{self, Pickle, Storage};
use anyhow::{Context, Result, bail, ensure};
use std::io::{Cursor, Read};
use zip::{CompressionMethod, ZipArchive};

/// The pickle in the bytes of an archive, and the archive for its storages.
pub(super) fn open(bytes: &[u8]) -> Result<(Pickle, Archive<'_>)> {
    let mut archive = Archive::open(bytes)?;
    if let Ok(order) = archive.entry("byteorder") {
        ensure!(order == b"little", "big-endian weights are not supported");
    }
    let (pickle, _) = pickle::read(&archive.entry("data.pkl")?)?;
    Ok((pickle, archive))
}

/// An archive, and the folder in it that holds everything.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// With its slash at the end; empty where there is none.
    folder: String,
    /// Bytes that entries may still have in all.
    left: usize,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .context("a truncated or damaged zip archive: fetch it again")?;
        let main = zip
            .file_names()
            .find(|name| name.ends_with("/data.pkl") || *name == "data.pkl");
        let Some(main) = main else {
            let mut names: Vec<&str> = zip.file_names().collect();
            names.sort_unstable();
            bail!(other_archive(&names));
        };
        let folder = main.trim_end_matches("data.pkl").to_string();
        let code = format!("{folder}code/");
        ensure!(
            !zip.file_names().any(|name| name.starts_with(&code)),
            "it is a TorchScript archive (torch.jit.save), a program with its weights: in Python, \
             torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
        );
        Ok(Self {
            zip,
            folder,
            left: bytes.len(),
        })
    }

    /// The bytes of a storage.
    pub fn storage(&mut self, storage: &Storage) -> Result<Vec<u8>> {
        self.entry(&format!("data/{}", storage.key))
    }

    /// The bytes of an entry of the folder.
    fn entry(&mut self, name: &str) -> Result<Vec<u8>> {
        let (name, limit) = (format!("{}{name}", self.folder), self.left);
        let mut file = self
            .zip
            .by_name(&name)
            .with_context(|| format!("no entry {name}"))?;
        // PyTorch stores without compression, so entries cannot be larger than the file: a small
        // file that unpacks into more than the memory holds is refused here.
        ensure!(
            file.compression() == CompressionMethod::Stored,
            "entry {name} is compressed, PyTorch stores plainly"
        );
        ensure!(
            file.size() <= limit as u64,
            "entry {name} claims {} bytes, more than the file has",
            file.size()
        );
        let mut bytes = Vec::with_capacity(file.size() as usize);
        file.read_to_end(&mut bytes)
            .with_context(|| format!("entry {name} is damaged"))?;
        self.left -= bytes.len().min(limit);
        Ok(bytes)
    }
}
