//! Pictures that the command line names: files, and folders of files.

use super::image_folder::{ImageFile, ImageFolder};
use super::image_name::check_storable_name;
use crate::error::invalid_input;
use anyhow::Result;
use egsde_data::image_file::{composed_name, stem};
use egsde_data::nearest::offer_path;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A picture to translate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPicture {
    /// Its file.
    pub path: PathBuf,
    /// Its file's name without the extension, which chooses the noise.
    pub stem: String,
    /// A name that no other picture has: the stem or, where two have one stem, the file's name.
    pub name: String,
}

/// What the command line names.
#[derive(Debug, Default)]
pub struct OwnPictures {
    /// In the order of the command line; those of a folder in name order.
    pub pictures: Vec<OwnPicture>,
    /// Pictures of folders that are not read, each with the reason.
    pub unread: Vec<String>,
    /// What else a reader should be told, a line each.
    pub notes: Vec<String>,
}

/// Gives each file a name of its own.
fn named(files: Vec<ImageFile>) -> Result<Vec<OwnPicture>> {
    let mut stems: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        *stems.entry(file.stem.clone()).or_default() += 1;
    }
    let mut pictures: Vec<OwnPicture> = Vec::new();
    let mut taken: BTreeMap<String, PathBuf> = BTreeMap::new();
    for ImageFile { stem, path } in files {
        let name = match stems[&stem] {
            1 => stem.clone(),
            _ => composed_name(&path),
        };
        check_storable_name(&name)?;
        if let Some(other) = taken.insert(name.clone(), path.clone()) {
            return Err(invalid_input(format!(
                "{} and {} have one name, and so would their translations: translate them one \
                 after the other, each into an --out of its own",
                other.display(),
                path.display()
            )));
        }
        pictures.push(OwnPicture { path, stem, name });
    }
    Ok(pictures)
}

impl OwnPictures {
    /// The pictures of files and folders. A file that is named is taken whatever its extension; a
    /// path that is named twice counts once.
    ///
    /// # Errors
    /// Invalid input: a path that leads nowhere (with the nearest one), a folder without a
    /// picture, two pictures of one file name, or a name under which nothing can be stored.
    pub fn find(inputs: &[PathBuf]) -> Result<Self> {
        let (mut found, mut files, mut seen) = (Self::default(), Vec::new(), BTreeSet::new());
        for input in inputs {
            let new = if input.as_os_str() == "-" {
                return Err(invalid_input(
                    "-: pictures are read from files and folders, not from standard input",
                ));
            } else if input.is_dir() {
                let folder = ImageFolder::read(input)?;
                found.notes.extend(folder.note_below());
                found.unread.extend(folder.unread);
                folder.images
            } else if input.exists() || input.is_symlink() {
                // A link that leads nowhere is told about when it is read.
                vec![ImageFile {
                    stem: stem(input),
                    path: input.clone(),
                }]
            } else {
                let (at, offer) = (input.display(), offer_path(input));
                return Err(invalid_input(format!("no file or folder {at}{offer}")));
            };
            files.extend(
                new.into_iter()
                    .filter(|file| seen.insert(file.path.clone())),
            );
        }
        found.pictures = named(files)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    fn names(pictures: &OwnPictures) -> Vec<&str> {
        let pictures = pictures.pictures.iter();
        pictures.map(|picture| picture.name.as_str()).collect()
    }

    #[test]
    fn a_folder_gives_its_pictures_in_name_order() {
        let folder = folder(&["b.jpg", "a.PNG", "c.gif", ".hidden.png", "inner/c.png"]);
        let found = OwnPictures::find(&[folder.path().into()]).unwrap();
        assert_eq!(names(&found), ["a", "b"]);
        assert!(found.unread[0].contains("c.gif"), "{:?}", found.unread);
        assert!(found.notes[0].contains("inner"), "{:?}", found.notes);
        // A file that is named is taken whatever it is called, and once.
        let gif = folder.path().join("c.gif");
        let found = OwnPictures::find(&[gif.clone(), folder.path().into(), gif]).unwrap();
        assert_eq!(names(&found), ["c", "a", "b"]);
    }

    #[test]
    fn pictures_of_one_stem_keep_their_extensions() {
        let folder = folder(&["a.jpg", "a.png", "b.png", "inner/a.jpg"]);
        let found = OwnPictures::find(&[folder.path().into()]).unwrap();
        assert_eq!(names(&found), ["a.jpg", "a.png", "b"]);
        let stems: Vec<&str> = found.pictures.iter().map(|p| p.stem.as_str()).collect();
        assert_eq!(stems, ["a", "a", "b"]);
        let inner = folder.path().join("inner");
        let error = OwnPictures::find(&[folder.path().into(), inner]).unwrap_err();
        assert!(error.to_string().contains("have one name"), "{error}");
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        let folder = folder(&["cats.jpg", "inner/notes.txt"]);
        for (input, part) in [
            (folder.path().join("inner"), "no .jpg or .png picture"),
            (folder.path().join("cat.jpg"), "did you mean"),
            ("-".into(), "not from standard input"),
        ] {
            let error = OwnPictures::find(&[input]).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
