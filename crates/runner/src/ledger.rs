//! SHA-256 of every picture a job has made, so that one that was changed, cut or removed afterwards is noticed.
//! The file is in `sha256sum`'s format: `sha256sum -c images.sha256` inside a job's folder checks it without this program.

use anyhow::Result;
use egsde_models::files::{sha256_hex, write_atomically};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// File name inside a job's folder.
pub const LEDGER: &str = "images.sha256";

/// Hashes by path inside the job's folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger(BTreeMap<PathBuf, String>);

impl Ledger {
    /// That of a job's folder; lines that are not of the format count for nothing, so their pictures are made again.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(LEDGER)).unwrap_or_default();
        // A path that leads out of the folder is not one this program wrote.
        let inside = |path: &str| {
            Path::new(path)
                .components()
                .all(|c| matches!(c, Component::Normal(_)))
        };
        let entry = |line: &str| {
            let (hash, path) = line
                .split_once("  ")
                .filter(|(hash, path)| hash.len() == 64 && inside(path))?;
            Some((path.into(), hash.into()))
        };
        Self(text.lines().filter_map(entry).collect())
    }

    /// Notes a picture's bytes.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) {
        self.0.insert(path.into(), sha256_hex(bytes));
    }

    /// Whether these are the bytes that were written under this path.
    pub fn knows(&self, path: &Path, bytes: &[u8]) -> bool {
        self.0
            .get(path)
            .is_some_and(|hash| *hash == sha256_hex(bytes))
    }

    /// Writes it into the job's folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text: String = self
            .0
            .iter()
            .map(|(path, hash)| format!("{hash}  {}\n", path.display()))
            .collect();
        write_atomically(&folder.join(LEDGER), text.as_bytes())
    }

    /// Pictures it knows, in name order.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_comes_back_without_lines_that_are_not_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::default();
        ledger.add(Path::new("images/a.png"), b"a");
        ledger.write(folder.path()).unwrap();
        let path = folder.path().join(LEDGER);
        let mut text = std::fs::read_to_string(&path).unwrap();
        let hash = "0".repeat(64);
        text += &format!("{hash}  ../../secret\n{hash}  /etc/passwd\nshort  images/b.png\n");
        std::fs::write(&path, text).unwrap();
        assert_eq!(Ledger::read(folder.path()), ledger);
        assert!(
            ledger.knows(Path::new("images/a.png"), b"a")
                && !ledger.knows(Path::new("images/a.png"), b"b")
        );
    }
}
