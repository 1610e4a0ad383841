//! Manifests of published files and picture folders: where each comes from, where it is put, how to
//! know it. A hash nobody published is learnt on first sight and kept in `datasets/pins.yaml`.

use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::image_folder::{folder_sha256, image_files};
use crate::project::Project;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_data::files::{sha256_file, write_atomically};
use egsde_data::nearest::offer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file somebody publishes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Name under the manifest's folder.
    pub file: String,
    /// What the file holds, for the reader.
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
    /// Short name of the collection, used to describe its folders.
    pub name: String,
    /// What the collection holds and who published it, for the reader.
    pub about: String,
    /// Terms of use as the publishers state them.
    pub license: String,
    /// Where everything is put, relative to the project's folder (a symbolic link will do).
    pub folder: PathBuf,
    /// How to get it.
    pub origin: String,
    /// Published files, each an entry by its name.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// Picture folders, each an entry by its path.
    #[serde(default)]
    pub folders: Vec<FolderEntry>,
}

/// Names one entry of a manifest.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Manifest file, relative to the project's folder.
    pub manifest: PathBuf,
    /// A file's name or a folder's path in it.
    pub entry: String,
}

/// What is known of one input.
#[derive(Debug, Clone)]
pub struct Input {
    /// `FOLDER/ENTRY`, as pins name it.
    pub key: String,
    /// Where it belongs on this machine, whether or not it is there.
    pub path: PathBuf,
    /// What it holds, for messages.
    pub what: String,
    /// How to get it, for messages.
    pub origin: String,
    /// Bytes of a file, where they are published; none of a folder.
    pub size: Option<u64>,
    /// Pictures a folder should hold.
    pub pictures: Option<usize>,
    /// From the manifest (whole or first digits) or from the pins (whole).
    pub sha256: Option<String>,
    /// Configuration file of the network whose weights it holds; none of other inputs.
    pub network: Option<PathBuf>,
}

/// SHA-256 learnt on first sight.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Pins(pub BTreeMap<String, String>);

impl Pins {
    /// Those of a project, and those that this process has learnt.
    pub fn read(project: &Project) -> Result<Self> {
        let mut pins = Self(project.learnt());
        pins.0.extend(Self::read_file(project)?.0);
        Ok(pins)
    }

    /// Those in the project's file; none when it is not there.
    fn read_file(project: &Project) -> Result<Self> {
        let path = project.pins();
        if path.exists() {
            read_yaml(&path)
        } else {
            Ok(Self::default())
        }
    }

    /// Keeps one more.
    pub fn add(project: &Project, key: &str, sha256: &str) -> Result<()> {
        let mut pins = Self::read_file(project)?;
        pins.0.insert(key.to_string(), sha256.to_string());
        let head = "# SHA-256 of published files and folders as first seen on this machine\n\
                    # (egsde data check --pin).\n";
        write_atomically(
            &project.pins(),
            format!("{head}{}", serde_yaml::to_string(&pins)?).as_bytes(),
        )
        .or_invalid_input("cannot keep the hash")
    }
}

impl Manifest {
    /// Reads one.
    pub fn read(project: &Project, file: &Path) -> Result<Self> {
        let path = project.resolve(file);
        let manifest: Self = read_yaml(&path)?;
        project.check_path(&manifest.folder, &format!("{}: folder", path.display()))?;
        Ok(manifest)
    }

    /// What is known about one entry before its own keys are looked at.
    fn input(&self, project: &Project, pins: &Pins, name: &str, what: String) -> Input {
        let key = self.folder.join(name).display().to_string();
        Input {
            path: project.resolve(&self.folder).join(name),
            what,
            origin: self.origin.clone(),
            size: None,
            pictures: None,
            sha256: pins.0.get(&key).cloned(),
            network: None,
            key,
        }
    }

    /// Everything in it, with what the pins know.
    pub fn inputs(&self, project: &Project, pins: &Pins) -> Vec<Input> {
        let mut inputs = Vec::new();
        for file in &self.files {
            let base = self.input(project, pins, &file.file, file.what.clone());
            inputs.push(Input {
                origin: file.origin.clone().unwrap_or(base.origin),
                size: file.size,
                // A pin is whole, what is published may be a beginning; `verify` holds both.
                sha256: base.sha256.or(file.sha256.clone()),
                network: file.network.clone(),
                ..base
            });
        }
        for folder in &self.folders {
            let what = format!("{} pictures of {}", folder.pictures, self.name);
            let base = self.input(project, pins, &folder.path, what);
            inputs.push(Input {
                pictures: Some(folder.pictures),
                sha256: folder.sha256.clone().or(base.sha256),
                ..base
            });
        }
        inputs
    }
}

impl Entry {
    /// What is known about it.
    ///
    /// # Errors
    /// Invalid input: the manifest does not have such an entry (with the nearest name) or cannot be
    /// read.
    pub fn resolve(&self, project: &Project, pins: &Pins) -> Result<Input> {
        let manifest = Manifest::read(project, &self.manifest)?;
        let key = manifest.folder.join(&self.entry).display().to_string();
        let inputs = manifest.inputs(project, pins);
        if let Some(found) = inputs.iter().find(|input| input.key == key) {
            return Ok(found.clone());
        }
        let offer = offer(&key, inputs.iter().map(|input| input.key.as_str()));
        Err(invalid_input(format!(
            "{}: no entry `{key}`{offer}",
            self.manifest.display()
        )))
    }

    /// One line that tells people which file or folder it is.
    pub fn description(&self) -> String {
        format!("{} of {}", self.entry, self.manifest.display())
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

    /// One line that tells what is missing, from where, and how to know it.
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

    fn check_size(&self, wanted: u64) -> Result<()> {
        let path = self.path.display();
        let found = std::fs::metadata(&self.path).or_invalid_input(&path)?.len();
        if found == wanted {
            return Ok(());
        }
        Err(invalid_input(format!(
            "{path} has {found} bytes, expected {wanted}: fetch it again: {}",
            self.origin
        )))
    }

    fn check_count(&self, wanted: usize) -> Result<()> {
        let found = image_files(&self.path)?.len();
        if found == wanted {
            return Ok(());
        }
        Err(invalid_input(format!(
            "{} holds {found} pictures, expected {wanted}: unpack it again: {}",
            self.path.display(),
            self.origin
        )))
    }

    /// Holds a folder that is there against the number of pictures that was published.
    ///
    /// # Errors
    /// Invalid input: another number, with how to mend that.
    pub fn check_pictures(&self) -> Result<()> {
        self.pictures
            .map_or(Ok(()), |count| self.check_count(count))
    }

    fn verify_with(&self, sha256: impl FnOnce(&Path) -> Result<String>) -> Result<String> {
        if !self.exists() {
            return Err(invalid_input(format!("missing: {}", self.instructions())));
        }
        self.size.map_or(Ok(()), |size| self.check_size(size))?;
        self.check_pictures()?;
        let found = sha256(&self.path).or_invalid_input(self.path.display())?;
        match &self.sha256 {
            Some(wanted) if !found.starts_with(wanted.as_str()) => Err(invalid_input(format!(
                "{}: SHA-256 is {found}, expected {wanted}: fetch it again ({}), or remove its \
                 line from datasets/pins.yaml if the new one is meant",
                self.path.display(),
                self.origin
            ))),
            _ => Ok(found),
        }
    }

    /// Hash of its content: of a file, or over a folder's files.
    fn compute_sha256(&self, path: &Path) -> Result<String> {
        if self.pictures.is_some() {
            folder_sha256(path)
        } else {
            sha256_file(path)
        }
    }

    /// Its SHA-256, held against what is known.
    ///
    /// # Errors
    /// Invalid input: it is missing or another one, with how to mend that.
    pub fn verify(&self) -> Result<String> {
        self.verify_with(|path| self.compute_sha256(path))
    }

    /// [`Input::verify`], the hash computed once per process.
    ///
    /// # Errors
    /// As [`Input::verify`].
    pub fn verify_once(&self, project: &Project) -> Result<String> {
        self.verify_with(|path| project.hash_once(path, |path| self.compute_sha256(path)))
    }

    /// Whether its whole hash is known.
    pub fn is_pinned(&self) -> bool {
        self.sha256.as_ref().is_some_and(|h| h.len() == 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOY: &str = "
name: toy
about: a
license: l
folder: data/toy
origin: from the shelf
files:
  - {file: w.pt, what: weights, size: 3}
folders:
  - {path: val/cat, pictures: 2}
";

    fn toy_project() -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("datasets")).unwrap();
        std::fs::write(folder.path().join("datasets/toy.yaml"), TOY).unwrap();
        let project = Project::new(folder.path());
        (folder, project)
    }

    fn entry(name: &str) -> Entry {
        Entry {
            manifest: "datasets/toy.yaml".into(),
            entry: name.into(),
        }
    }

    #[test]
    fn what_is_missing_says_from_where_and_a_pin_is_held() {
        let (_folder, project) = toy_project();
        let input = entry("w.pt").resolve(&project, &Pins::default()).unwrap();
        let error = input.verify().unwrap_err().to_string();
        assert!(
            error.contains("w.pt (weights, 3 bytes, SHA-256 not published")
                && error.contains("from the shelf"),
            "{error}"
        );
        std::fs::create_dir_all(project.resolve("data/toy")).unwrap();
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
        Pins::add(&project, &input.key, &hash).unwrap();
        let pinned = entry("w.pt")
            .resolve(&project, &Pins::read(&project).unwrap())
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
        let (_folder, project) = toy_project();
        let input = entry("val/cat")
            .resolve(&project, &Pins::default())
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
        // What macOS leaves behind is no picture, and no reason to unpack the folder again.
        std::fs::write(input.path.join("._a.jpg"), "\0\u{5}\u{16}\u{7}").unwrap();
        std::fs::write(input.path.join(".DS_Store"), "x").unwrap();
        let before = input.verify().unwrap();
        std::fs::write(input.path.join("b.jpg"), "3").unwrap();
        assert_ne!(input.verify().unwrap(), before);
        let error = entry("val/cta")
            .resolve(&project, &Pins::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("did you mean `data/toy/val/cat`?"),
            "{error}"
        );
    }
}
