//! SHA-256 of every image a job has made, so that one that was changed, cut or removed afterwards
//! is noticed. The file is in `sha256sum`'s format: `sha256sum -c images.sha256` inside a job's
//! folder checks it without this program.

use anyhow::Result;
use egsde_data::files::{sha256_hex, write_atomically};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// File name inside a job's folder.
pub const CHECKSUMS_FILE: &str = "images.sha256";

/// Hashes by path inside the job's folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checksums(BTreeMap<PathBuf, String>);

/// Whether a path stays inside the folder: another one was not written by this program.
fn stays_inside(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|component| matches!(component, Component::Normal(_)))
}

/// The path and hash of one line of the file; none of a line in another format.
fn parse_line(line: &str) -> Option<(PathBuf, String)> {
    let (hash, path) = line.split_once("  ")?;
    (hash.len() == 64 && stays_inside(path)).then(|| (path.into(), hash.into()))
}

impl Checksums {
    /// Those of a job's folder. Lines in another format are left out, so that their images are made
    /// again.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(CHECKSUMS_FILE)).unwrap_or_default();
        Self(text.lines().filter_map(parse_line).collect())
    }

    /// Notes an image's bytes.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) {
        self.0.insert(path.into(), sha256_hex(bytes));
    }

    /// Whether these are the bytes that were written under this path.
    pub fn matches(&self, path: &Path, bytes: &[u8]) -> bool {
        self.0
            .get(path)
            .is_some_and(|hash| *hash == sha256_hex(bytes))
    }

    /// Writes the file into the job's folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut text = String::new();
        for (path, hash) in &self.0 {
            text += &format!("{hash}  {}\n", path.display());
        }
        write_atomically(&folder.join(CHECKSUMS_FILE), text.as_bytes())
    }

    /// Paths of the images, in name order.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_come_back_without_lines_in_another_format() {
        let folder = tempfile::tempdir().unwrap();
        let image = Path::new("images/a.png");
        let mut checksums = Checksums::default();
        checksums.add(image, b"a");
        checksums.write(folder.path()).unwrap();
        let path = folder.path().join(CHECKSUMS_FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        let hash = "0".repeat(64);
        text += &format!("{hash}  ../../secret\n{hash}  /etc/passwd\nshort  images/b.png\n");
        std::fs::write(&path, text).unwrap();
        assert_eq!(Checksums::read(folder.path()), checksums);
        assert!(checksums.matches(image, b"a") && !checksums.matches(image, b"b"));
    }
}
