//! Manifests of published files and picture folders: where each comes from, where it is put, how to know it.
//! A hash nobody published is learnt on first sight and kept in `datasets/pins.yaml`.

use crate::error::{Problem, UserError};
use crate::yaml::{nearest, read_yaml};
use anyhow::Result;
use egsde_models::files::{sha256_file, sha256_hex, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file somebody publishes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Name under the manifest's folder.
    pub file: String,
    pub what: String,
    /// How to get it; the manifest's own origin when left out.
    #[serde(default)]
    pub origin: Option<String>,
    /// Bytes, where known.
    #[serde(default)]
    pub size: Option<u64>,
    /// SHA-256, or its first digits where no more is published.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Configuration of the network whose weights these are.
    #[serde(default)]
    pub network: Option<PathBuf>,
}

/// A folder of pictures.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderEntry {
    /// Path under the manifest's folder.
    pub path: String,
    /// How many pictures the published folder holds.
    pub pictures: usize,
    /// [`folder_sha256`] of the published folder, where known.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// A manifest in `datasets/` or `checkpoints/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    pub about: String,
    pub license: String,
    /// Where everything is put, relative to the project's root (a symbolic link will do).
    pub folder: PathBuf,
    /// How to get it.
    pub origin: String,
    #[serde(default)]
    pub files: Vec<FileEntry>,
    #[serde(default)]
    pub folders: Vec<FolderEntry>,
}

/// Names one entry of a manifest.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Manifest file, relative to the project's root.
    pub manifest: PathBuf,
    /// A file's name or a folder's path in it.
    pub entry: String,
}

/// What is known of one input.
#[derive(Debug, Clone)]
pub struct Input {
    /// `FOLDER/ENTRY`, as pins name it.
    pub key: String,
    pub path: PathBuf,
    pub what: String,
    pub origin: String,
    pub size: Option<u64>,
    /// Pictures a folder should hold.
    pub pictures: Option<usize>,
    /// From the manifest (whole or first digits) or from the pins (whole).
    pub sha256: Option<String>,
    pub network: Option<PathBuf>,
}

/// SHA-256 learnt on first sight.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Pins(pub BTreeMap<String, String>);

const PINS: &str = "datasets/pins.yaml";

impl Pins {
    /// Those of a project; none when the file is not there.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(PINS);
        if path.exists() {
            read_yaml(&path)
        } else {
            Ok(Self::default())
        }
    }

    /// Keeps one more.
    pub fn add(root: &Path, key: &str, sha256: &str) -> Result<()> {
        let mut pins = Self::read(root)?;
        pins.0.insert(key.to_string(), sha256.to_string());
        let head = "# SHA-256 of published files and folders as first seen on this machine (egsde data check --pin).\n";
        write_atomically(
            &root.join(PINS),
            format!("{head}{}", serde_yaml::to_string(&pins)?).as_bytes(),
        )
        .user("cannot keep the hash")
    }
}

/// Extensions of picture files, lower case.
pub const PICTURE_EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Picture files of a folder by stem, in name order. None at all, or two with one stem, is an error.
pub fn listing(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).user(format!("cannot read {}", folder.display()))? {
        let path = entry.user(folder.display())?.path();
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_ascii_lowercase();
        if !PICTURE_EXTENSIONS.contains(&extension.as_str()) {
            continue;
        }
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(other) = found.insert(stem, path.clone()) {
            return Err(Problem::user(format!(
                "{} and {} have the same stem: remove one",
                other.display(),
                path.display()
            )));
        }
    }
    if found.is_empty() {
        return Err(Problem::user(format!(
            "{} holds no .jpg or .png picture",
            folder.display()
        )));
    }
    Ok(found)
}

/// Hash of a folder of pictures: over its file names and their SHA-256, in name order.
pub fn folder_sha256(folder: &Path) -> Result<String> {
    let mut text = String::new();
    for path in listing(folder)?.values() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text += &format!("{}  {name}\n", sha256_file(path)?);
    }
    Ok(sha256_hex(text.as_bytes()))
}

impl Manifest {
    /// Reads one.
    pub fn read(root: &Path, file: &Path) -> Result<Self> {
        read_yaml(&root.join(file))
    }

    /// Everything in it, with what the pins know.
    pub fn inputs(&self, root: &Path, pins: &Pins) -> Vec<Input> {
        let input = |name: &str, what: &str| {
            let key = self.folder.join(name).display().to_string();
            Input {
                path: root.join(&self.folder).join(name),
                what: what.to_string(),
                origin: self.origin.clone(),
                size: None,
                pictures: None,
                sha256: pins.0.get(&key).cloned(),
                network: None,
                key,
            }
        };
        let file = |f: &FileEntry| {
            let base = input(&f.file, &f.what);
            Input {
                origin: f.origin.clone().unwrap_or(base.origin),
                size: f.size,
                // A pin is whole, what is published may be a beginning; `verify` holds both.
                sha256: base.sha256.or(f.sha256.clone()),
                network: f.network.clone(),
                ..base
            }
        };
        let folder = |f: &FolderEntry| {
            let base = input(
                &f.path,
                &format!("{} pictures of {}", f.pictures, self.name),
            );
            Input {
                pictures: Some(f.pictures),
                sha256: f.sha256.clone().or(base.sha256),
                ..base
            }
        };
        self.files
            .iter()
            .map(file)
            .chain(self.folders.iter().map(folder))
            .collect()
    }
}

impl Entry {
    /// What is known of it; an entry the manifest does not have is an error with the nearest name.
    pub fn resolve(&self, root: &Path, pins: &Pins) -> Result<Input> {
        let manifest = Manifest::read(root, &self.manifest)?;
        let key = manifest.folder.join(&self.entry).display().to_string();
        let inputs = manifest.inputs(root, pins);
        let names = inputs.iter().map(|i| i.key.as_str());
        let near = nearest(&key, names).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        let found = inputs.iter().find(|i| i.key == key).cloned();
        found.ok_or_else(|| {
            Problem::user(format!(
                "{}: no entry `{key}`{near}",
                self.manifest.display()
            ))
        })
    }
}

impl Input {
    /// Whether it lies where it should.
    pub fn exists(&self) -> bool {
        if self.pictures.is_some() {
            self.path.is_dir()
        } else {
            self.path.is_file()
        }
    }

    /// One line that says what is missing, from where, and how to know it.
    pub fn instructions(&self) -> String {
        let size = self.size.map_or(String::new(), |s| format!(", {s} bytes"));
        let hash = match &self.sha256 {
            Some(h) if h.len() < 64 => format!("SHA-256 begins with {h}"),
            Some(h) => format!("SHA-256 {h}"),
            None => "SHA-256 not published: learnt on first sight".into(),
        };
        format!(
            "{} ({}{size}, {hash}): {}",
            self.path.display(),
            self.what,
            self.origin
        )
    }

    /// Its SHA-256, held against what is known. Errors say what is wrong and how to mend it.
    pub fn verify(&self) -> Result<String> {
        if !self.exists() {
            return Err(Problem::user(format!("missing: {}", self.instructions())));
        }
        if let Some(size) = self.size {
            let found = std::fs::metadata(&self.path)
                .user(self.path.display())?
                .len();
            if found != size {
                return Err(Problem::user(format!(
                    "{} has {found} bytes, expected {size}: fetch it again: {}",
                    self.path.display(),
                    self.origin
                )));
            }
        }
        let found = match self.pictures {
            Some(wanted) => {
                let have = listing(&self.path)?.len();
                if have != wanted {
                    let text = format!(
                        "{} holds {have} pictures, expected {wanted}: unpack it again: {}",
                        self.path.display(),
                        self.origin
                    );
                    return Err(Problem::user(text));
                }
                folder_sha256(&self.path)?
            }
            None => sha256_file(&self.path).user(self.path.display())?,
        };
        match &self.sha256 {
            Some(wanted) if !found.starts_with(wanted.as_str()) => Err(Problem::user(format!(
                "{}: SHA-256 is {found}, expected {wanted}: fetch it again ({}), or remove its line from {PINS} if the new one is meant",
                self.path.display(),
                self.origin
            ))),
            _ => Ok(found),
        }
    }

    /// Whether its whole hash is known.
    pub fn is_pinned(&self) -> bool {
        self.sha256.as_ref().is_some_and(|h| h.len() == 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("datasets")).unwrap();
        let text = "name: toy\nabout: a\nlicense: l\nfolder: data/toy\norigin: from the shelf\nfiles:\n  - {file: w.pt, what: weights, size: 3}\nfolders:\n  - {path: val/cat, pictures: 2}\n";
        std::fs::write(folder.path().join("datasets/toy.yaml"), text).unwrap();
        folder
    }

    fn entry(name: &str) -> Entry {
        Entry {
            manifest: "datasets/toy.yaml".into(),
            entry: name.into(),
        }
    }

    #[test]
    fn what_is_missing_says_from_where_and_a_pin_is_held() {
        let project = project();
        let root = project.path();
        let input = entry("w.pt").resolve(root, &Pins::default()).unwrap();
        let error = input.verify().unwrap_err().to_string();
        assert!(
            error.contains("w.pt (weights, 3 bytes, SHA-256 not published")
                && error.contains("from the shelf"),
            "{error}"
        );
        std::fs::create_dir_all(root.join("data/toy")).unwrap();
        std::fs::write(&input.path, "abcd").unwrap();
        assert!(
            input
                .verify()
                .unwrap_err()
                .to_string()
                .contains("has 4 bytes, expected 3")
        );
        std::fs::write(&input.path, "abc").unwrap();
        let hash = input.verify().unwrap();
        Pins::add(root, &input.key, &hash).unwrap();
        let pinned = entry("w.pt")
            .resolve(root, &Pins::read(root).unwrap())
            .unwrap();
        assert!(pinned.is_pinned() && pinned.verify().unwrap() == hash);
        std::fs::write(&input.path, "abd").unwrap();
        assert!(
            pinned
                .verify()
                .unwrap_err()
                .to_string()
                .contains("SHA-256 is")
        );
    }

    #[test]
    fn a_folder_is_known_by_count_and_content() {
        let project = project();
        let input = entry("val/cat")
            .resolve(project.path(), &Pins::default())
            .unwrap();
        std::fs::create_dir_all(&input.path).unwrap();
        std::fs::write(input.path.join("a.jpg"), "1").unwrap();
        std::fs::write(input.path.join("notes.txt"), "x").unwrap();
        assert!(
            input
                .verify()
                .unwrap_err()
                .to_string()
                .contains("holds 1 pictures, expected 2")
        );
        std::fs::write(input.path.join("b.jpg"), "2").unwrap();
        let before = input.verify().unwrap();
        std::fs::write(input.path.join("b.jpg"), "3").unwrap();
        assert_ne!(input.verify().unwrap(), before);
        let error = entry("val/cta")
            .resolve(project.path(), &Pins::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("did you mean `data/toy/val/cat`?"),
            "{error}"
        );
    }
}
