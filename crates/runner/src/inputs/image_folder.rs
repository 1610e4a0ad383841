//! Folders of image files: which files are images, and what of a folder is left out.

use super::image_kind::{extension, has_image_extension, is_hidden, unread_image};
use crate::error::{OrInvalidInput, all_in_order, invalid_input};
use anyhow::Result;
use egsde_data::files::{sha256_file, sha256_hex};
use egsde_data::image_file::{self, FORMATS, Rgb};
use egsde_data::image_set::ImageSet;
use egsde_data::nearest::offer_path;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

/// How deep images below a folder are counted.
const DEPTH: usize = 6;

/// Names that one line has, at most; the others are counted.
const NAMED: usize = 5;

/// An image file of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageFile {
    /// Its name without the extension, in composed characters; see [`image_file::stem`].
    pub stem: String,
    /// Its path.
    pub path: PathBuf,
}

/// What lies in a folder. Hidden files are none of its images: macOS leaves a `._NAME.jpg` beside a
/// `NAME.jpg`.
#[derive(Debug, Clone)]
pub struct ImageFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its images, in the order of their stems. Files of one stem follow each other.
    pub images: Vec<ImageFile>,
    /// Images that are not read, each with the reason: of another format, or without the extension
    /// of an image.
    pub unread: Vec<String>,
    /// Images in each of its folders, at any depth. They take no part.
    pub below: BTreeMap<String, usize>,
    /// How many other files there are, by extension.
    others: BTreeMap<String, usize>,
}

/// The images of named files as squares of `side` px, read on all cores.
///
/// # Errors
/// Those of `read`: the first in the order of the files.
pub fn read_images(
    files: &[(String, PathBuf)],
    side: usize,
    read: impl Fn(&Path) -> Result<Rgb> + Sync,
) -> Result<ImageSet> {
    let squares = all_in_order(files.par_iter().map(|(_, path)| read(path)))?;
    let mut images = ImageSet::empty(side);
    for ((name, _), square) in files.iter().zip(squares) {
        images.names.push(name.clone());
        images.pixels.extend(square.pixels);
    }
    Ok(images)
}

/// Whether an entry is a folder, or a link to one.
fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    }
}

/// Number of images in a folder and below it.
fn count_images(folder: &Path, depth: usize) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| !is_hidden(&entry.file_name()))
        .map(|entry| match is_folder(&entry) {
            true if depth > 0 => count_images(&entry.path(), depth - 1),
            true => 0,
            false => usize::from(has_image_extension(&entry.path())),
        })
        .sum()
}

/// The name of a file with everything but ASCII escaped.
fn escaped_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.chars()
        .map(|c| match c.is_ascii() {
            true => c.to_string(),
            false => c.escape_unicode().to_string(),
        })
        .collect()
}

/// `NAME (COUNT)` of the first few, and how many more there are.
fn counted(counts: &BTreeMap<String, usize>) -> String {
    let named = counts.iter().take(NAMED);
    let named: Vec<String> = named
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    let more = counts.len().saturating_sub(NAMED);
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

impl ImageFolder {
    /// Looks at a folder.
    ///
    /// # Errors
    /// Invalid input: it cannot be read (with the nearest name where it is missing), or holds no
    /// image, with what it holds instead.
    pub fn read(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        if folder.is_file() {
            return Err(invalid_input(format!("{shown} is a file, not a folder")));
        }
        let mut found = Self {
            path: folder.into(),
            images: Vec::new(),
            unread: Vec::new(),
            below: BTreeMap::new(),
            others: BTreeMap::new(),
        };
        let entries = std::fs::read_dir(folder);
        let entries = entries
            .or_invalid_input(format!("cannot read {shown}"))
            .map_err(|error| invalid_input(format!("{error}{}", offer_path(folder))))?;
        for entry in entries {
            found.add(&entry.or_invalid_input(&shown)?);
        }
        found.images.sort();
        found.unread.sort();
        if found.images.is_empty() {
            return Err(invalid_input(found.why_empty()));
        }
        Ok(found)
    }

    fn add(&mut self, entry: &DirEntry) {
        let (name, path) = (entry.file_name(), entry.path());
        if is_hidden(&name) {
            return;
        }
        if is_folder(entry) {
            let count = count_images(&path, DEPTH);
            if count > 0 {
                self.below
                    .insert(name.to_string_lossy().into_owned(), count);
            }
        } else if has_image_extension(&path) {
            let stem = image_file::stem(&path);
            self.images.push(ImageFile { stem, path });
        } else if let Some(reason) = unread_image(&path) {
            self.unread.push(reason);
        } else {
            let kind = match extension(&path).as_str() {
                "" => "without extension".into(),
                extension => format!(".{extension}"),
            };
            *self.others.entry(kind).or_default() += 1;
        }
    }

    /// Why there is no image.
    fn why_empty(&self) -> String {
        let mut text = format!(
            "{} holds no .jpg or .png picture, nor one of another format that is read ({FORMATS})",
            self.path.display()
        );
        if !self.below.is_empty() {
            text += &format!("; its folders do: {}: name one", counted(&self.below));
        }
        if let Some(first) = self.unread.first() {
            text += &format!("; it holds {} others: {first}", self.unread.len());
        }
        if !self.others.is_empty() {
            text += &format!("; other files: {}", counted(&self.others));
        }
        text
    }

    /// One line on images in its folders, which take no part; none where there are none.
    pub fn note_below(&self) -> Option<String> {
        let count: usize = self.below.values().sum();
        (count > 0).then(|| {
            format!(
                "{}: {count} pictures in folders inside it take no part: {}",
                self.path.display(),
                counted(&self.below)
            )
        })
    }

    /// Refuses a folder with images that are not read.
    ///
    /// # Errors
    /// Invalid input: how many there are, and the first of them.
    pub fn require_all_read(&self) -> Result<()> {
        match self.unread.as_slice() {
            [] => Ok(()),
            [only] => Err(invalid_input(only)),
            [first, rest @ ..] => Err(invalid_input(format!(
                "{first} (and {} others in this folder)",
                rest.len()
            ))),
        }
    }

    /// Its images by stem.
    ///
    /// # Errors
    /// Invalid input: two with one stem.
    pub fn by_stem(&self) -> Result<BTreeMap<String, PathBuf>> {
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        for ImageFile { stem, path } in &self.images {
            if let Some(other) = found.insert(stem.clone(), path.clone()) {
                // Names that differ in the composition of their characters alone look alike.
                let is_plain = other.file_stem() == path.file_stem();
                let (a, b) = (other.display(), path.display());
                return Err(invalid_input(if is_plain {
                    format!("{a} and {b} have the same stem: remove one")
                } else {
                    let (a, b) = (escaped_name(&other), escaped_name(path));
                    format!("{a} and {b} are the same name once composed: remove one")
                }));
            }
        }
        Ok(found)
    }

    /// The paths of its images.
    pub fn paths(&self) -> Vec<&PathBuf> {
        self.images.iter().map(|image| &image.path).collect()
    }
}

/// Image files of a folder by stem, in name order.
///
/// # Errors
/// Invalid input: no image at all, one that is not read, or two with one stem.
pub fn image_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let folder = ImageFolder::read(folder)?;
    folder.require_all_read()?;
    folder.by_stem()
}

/// Hash of a folder of images: over its file names in composed characters and their SHA-256, in
/// name order.
///
/// # Errors
/// Invalid input: as [`image_files`]; or a file that cannot be read.
pub fn folder_sha256(folder: &Path) -> Result<String> {
    let mut text = String::new();
    for path in image_files(folder)?.values() {
        let name = image_file::composed_name(path);
        text += &format!("{}  {name}\n", sha256_file(path)?);
    }
    Ok(sha256_hex(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files.
    fn folder_of(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    #[track_caller]
    fn assert_refused(folder: &Path, parts: &[&str]) {
        let error = image_files(folder).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn images_are_known_by_extension_and_hidden_files_are_none() {
        let folder = folder_of(&[
            ("a.JPG", b"x"),
            ("b.webp", b"x"),
            ("c.tiff", b"x"),
            ("d.bmp", b"x"),
            ("notes.txt", b"x"),
            ("._a.JPG", b"\0\x05\x16\x07"),
            (".DS_Store", b"x"),
            (".thumbnails/a.png", b"x"),
            ("__MACOSX/._a.jpg", b"x"),
        ]);
        let found = ImageFolder::read(folder.path()).unwrap();
        let stems: Vec<&str> = found
            .images
            .iter()
            .map(|image| image.stem.as_str())
            .collect();
        assert_eq!(stems, ["a", "b", "c", "d"]);
        assert!(
            found.unread.is_empty() && found.below.is_empty(),
            "{found:?}"
        );
        assert_eq!(found.note_below(), None);
    }

    #[test]
    fn images_that_are_not_read_are_counted_and_named() {
        let folder = folder_of(&[
            ("a.png", b"x"),
            ("b.gif", b"GIF89a"),
            ("c.download", b"\xff\xd8\xff\xe0"),
            ("d.avif", b""),
            ("table.csv", b"a,b"),
        ]);
        let found = ImageFolder::read(folder.path()).unwrap();
        assert_eq!(found.unread.len(), 3, "{found:?}");
        assert!(found.unread[0].contains("b.gif: it is a GIF, none of JPEG"));
        assert!(found.unread[1].contains("c.download: a JPEG without its extension"));
        assert!(found.unread[2].contains("d.avif: of a format that is not read"));
        assert_refused(folder.path(), &["b.gif", "a GIF", "2 others"]);
    }

    #[test]
    fn a_folder_without_images_says_what_it_holds() {
        let folder = folder_of(&[
            ("cat/0.png", b"x"),
            ("cat/deep/1.png", b"x"),
            ("dog/0.jpg", b"x"),
            ("a.gif", b"GIF89a"),
            ("list.txt", b"x"),
        ]);
        let parts = [
            "no .jpg or .png",
            "its folders do: cat (2), dog (1)",
            "a.gif",
            ".txt (1)",
        ];
        assert_refused(folder.path(), &parts);
        std::fs::write(folder.path().join("own.png"), "x").unwrap();
        let note = ImageFolder::read(folder.path()).unwrap().note_below();
        let note = note.unwrap();
        assert!(note.contains("3 pictures in folders"), "{note}");
        let near = folder.path().join("cta");
        assert_refused(&near, &["cannot read", "did you mean", "cat?"]);
        assert_refused(&folder.path().join("own.png"), &["is a file, not a folder"]);
    }

    #[test]
    fn stems_are_composed_and_must_differ_where_they_pair() {
        let folder = folder_of(&[("cafe\u{301}.png", b"x"), ("b.png", b"y")]);
        let files = image_files(folder.path()).unwrap();
        assert!(files.contains_key("caf\u{e9}"), "{files:?}");
        let same = folder_of(&[("caf\u{e9}.png", b"x"), ("b.png", b"y")]);
        let hash = folder_sha256(same.path()).unwrap();
        assert_eq!(folder_sha256(folder.path()).unwrap(), hash);
        let two = folder_of(&[("caf\u{e9}.png", b"x"), ("cafe\u{301}.png", b"y")]);
        assert_refused(
            two.path(),
            &["cafe\\u{301}.png and caf\\u{e9}.png", "once composed"],
        );
        let twice = folder_of(&[("a.png", b"x"), ("a.jpg", b"y")]);
        assert_refused(twice.path(), &["a.jpg and", "a.png have the same stem"]);
        assert_eq!(ImageFolder::read(twice.path()).unwrap().images.len(), 2);
    }
}
