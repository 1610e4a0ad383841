//! Images of one domain as a task names them.

use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::archive::ArchivePart;
use crate::inputs::cropped::load_cropped;
use crate::inputs::hashed::{HashedFile, HashedFolder};
use crate::inputs::image_folder::{image_files, read_images};
use crate::inputs::manifest::{Entry, Pins};
use crate::project::Project;
use anyhow::Result;
use egsde_data::image_file::{self, Rgb};
use egsde_data::image_set::ImageSet;
use egsde_data::resize::{Filter, resize_short_side};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Images of one domain.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "ImageSourceKeys", into = "ImageSourceKeys")]
pub struct ImageSource {
    /// The domain, for people and for the names of images that have none of their own.
    pub domain: String,
    /// The sheet, archive part or folder that holds the images.
    pub place: ImagePlace,
}

/// Where images come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ImagePlace {
    /// A sheet that ships with the project.
    Sheet(HashedFile),
    /// One class of an archive's split.
    Archive(ArchivePart),
    /// A published folder or, as a reference, its statistics (`.npz`).
    Published(Entry),
    /// A folder of the user's own images, of any sizes: they are cropped to squares.
    Folder(HashedFolder),
    /// Several domains in turn: the first image of each, then the second of each, and so on, so
    /// that any number of first images has about as many of each.
    Several(Vec<ImageSource>),
}

/// The keys of an [`ImageSource`] as a task spells them.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ImageSourceKeys {
    domain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sheet: Option<HashedFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    archive: Option<ArchivePart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<HashedFolder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    several: Option<Vec<ImageSource>>,
}

impl ImageSourceKeys {
    /// All places that are given.
    fn places(self) -> Vec<ImagePlace> {
        let mut places: Vec<ImagePlace> = Vec::new();
        places.extend(self.sheet.map(ImagePlace::Sheet));
        places.extend(self.archive.map(ImagePlace::Archive));
        places.extend(self.published.map(ImagePlace::Published));
        places.extend(self.folder.map(ImagePlace::Folder));
        places.extend(self.several.map(ImagePlace::Several));
        places
    }
}

impl TryFrom<ImageSourceKeys> for ImageSource {
    type Error = String;

    fn try_from(keys: ImageSourceKeys) -> Result<Self, String> {
        let domain = keys.domain.clone();
        let Ok([place]) = <[ImagePlace; 1]>::try_from(keys.places()) else {
            return Err(format!(
                "images of {domain}: give one of sheet, archive, published, folder, several"
            ));
        };
        if matches!(&place, ImagePlace::Several(parts) if parts.len() < 2) {
            return Err(format!(
                "images of {domain}: several lists two or more domains, each with its own place"
            ));
        }
        Ok(Self { domain, place })
    }
}

impl From<ImageSource> for ImageSourceKeys {
    fn from(source: ImageSource) -> Self {
        let mut keys = Self {
            domain: source.domain,
            sheet: None,
            archive: None,
            published: None,
            folder: None,
            several: None,
        };
        match source.place {
            ImagePlace::Sheet(file) => keys.sheet = Some(file),
            ImagePlace::Archive(part) => keys.archive = Some(part),
            ImagePlace::Published(entry) => keys.published = Some(entry),
            ImagePlace::Folder(folder) => keys.folder = Some(folder),
            ImagePlace::Several(parts) => keys.several = Some(parts),
        }
        keys
    }
}

/// Images of a folder in name order, the short side resized to `side` as by Pillow with `filter`.
/// Networks need squares: another shape is named and refused.
fn load_folder(folder: &Path, side: usize, most: usize, filter: Filter) -> Result<ImageSet> {
    let files: Vec<(String, PathBuf)> = image_files(folder)?.into_iter().take(most).collect();
    read_images(&files, side, |path| read_source(path, side, filter))
}

/// A source image, resized to a square.
fn read_source(path: &Path, side: usize, filter: Filter) -> Result<Rgb> {
    let image = image_file::read(path).or_invalid_input("source picture")?;
    let resized = resize_short_side(&image, side, filter)?;
    if resized.width != side || resized.height != side {
        return Err(invalid_input(format!(
            "{} is not square ({} x {} once resized): crop it first",
            path.display(),
            resized.width,
            resized.height
        )));
    }
    Ok(resized)
}

/// The places of the first `most` of several lists taken in turn: which list, and where in it. A
/// list that has ended is passed over.
fn in_turn(lengths: &[usize], most: usize) -> Vec<(usize, usize)> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut places = Vec::new();
    for place in 0..longest {
        for (list, length) in lengths.iter().enumerate() {
            if place < *length {
                places.push((list, place));
            }
        }
    }
    places.truncate(most);
    places
}

/// The first `most` images of several sets taken in turn.
///
/// # Errors
/// Invalid input: two of these images share a name, which decides the noise and the file.
fn join_in_turn(sets: &[ImageSet], side: usize, most: usize) -> Result<ImageSet> {
    let lengths: Vec<usize> = sets.iter().map(ImageSet::len).collect();
    let mut joined = ImageSet::empty(side);
    let mut seen = HashSet::new();
    for (set, place) in in_turn(&lengths, most) {
        let name = &sets[set].names[place];
        if !seen.insert(name.clone()) {
            return Err(invalid_input(format!(
                "several domains have a picture named {name}: rename one of the two"
            )));
        }
        joined.append(sets[set].select(&[place]));
    }
    Ok(joined)
}

impl ImageSource {
    /// Reads at most `most` images, hashes verified, resized as the diffusion methods' published
    /// code does (Pillow's bicubic).
    ///
    /// # Errors
    /// Invalid input: a missing data set, with what to fetch and how, or files that are others.
    pub fn load(&self, project: &Project, side: usize, most: usize) -> Result<ImageSet> {
        self.load_with(project, side, most, Filter::Bicubic)
    }

    /// As [`ImageSource::load`], resized with any filter. Sheets and archives hold images of the
    /// networks' size: no filter changes them.
    ///
    /// # Errors
    /// As [`ImageSource::load`].
    pub fn load_with(
        &self,
        project: &Project,
        side: usize,
        most: usize,
        filter: Filter,
    ) -> Result<ImageSet> {
        match &self.place {
            ImagePlace::Sheet(sheet) => {
                let path = sheet.verified(project, "picture sheet")?;
                let at = path.display();
                let bytes = std::fs::read(&path).or_invalid_input(&at)?;
                let images =
                    ImageSet::from_sheet(&bytes, side, &self.domain).or_invalid_input(&at)?;
                Ok(images.first(most))
            }
            ImagePlace::Archive(part) => Ok(part.load(project)?.first(most)),
            ImagePlace::Published(entry) => {
                let input = entry.resolve(project, &Pins::read(project)?)?;
                input.verify_once(project)?;
                load_folder(&input.path, side, most, filter)
            }
            ImagePlace::Folder(folder) => {
                load_cropped(&folder.verified(project)?, side, most, filter)
            }
            ImagePlace::Several(parts) => {
                let mut sets = Vec::new();
                for part in parts {
                    sets.push(part.load_with(project, side, most, filter)?);
                }
                join_in_turn(&sets, side, most)
            }
        }
    }

    /// Names of the images in their order, as far as they can be told at once: no hash is computed
    /// and no image is decoded. None where they are not there, or in an archive.
    ///
    /// # Errors
    /// Invalid input: a folder without images, whose images share a name, or with another number of
    /// images than was published.
    pub fn known_names(&self, project: &Project, side: usize) -> Result<Option<Vec<String>>> {
        let folder = match &self.place {
            ImagePlace::Sheet(sheet) => {
                let bytes = std::fs::read(project.resolve(&sheet.file)).unwrap_or_default();
                return Ok(ImageSet::sheet_names(&bytes, side, &self.domain));
            }
            ImagePlace::Archive(_) => return Ok(None),
            ImagePlace::Published(entry) => {
                let input = entry.resolve(project, &Pins::default())?;
                match input.pictures {
                    None => return Ok(None),
                    Some(_) if input.exists() => input.check_pictures()?,
                    Some(_) => {}
                }
                input.path
            }
            ImagePlace::Folder(folder) => project.resolve(&folder.path),
            ImagePlace::Several(parts) => return known_names_in_turn(parts, project, side),
        };
        if !folder.is_dir() {
            return Ok(None);
        }
        Ok(Some(image_files(&folder)?.into_keys().collect()))
    }

    /// What decides the images and their names, by content. No path takes part; a sheet's images
    /// are named by the domain, and names choose the noise.
    ///
    /// # Errors
    /// Invalid input: a manifest that cannot be read.
    pub fn content(&self, project: &Project) -> Result<String> {
        match &self.place {
            ImagePlace::Sheet(sheet) => Ok(format!("sheet {} of {}", sheet.sha256, self.domain)),
            ImagePlace::Archive(part) => part.content(project),
            ImagePlace::Published(entry) => {
                let input = entry.resolve(project, &Pins::read(project)?)?;
                Ok(format!(
                    "folder {}",
                    input.sha256.as_deref().unwrap_or("not known")
                ))
            }
            ImagePlace::Folder(folder) => Ok(format!("cropped folder {}", folder.sha256)),
            ImagePlace::Several(parts) => {
                let mut contents = Vec::new();
                for part in parts {
                    contents.push(part.content(project)?);
                }
                Ok(format!("in turn: {}", contents.join("; ")))
            }
        }
    }

    /// One line that tells people which images they are.
    pub fn description(&self) -> String {
        let place = match &self.place {
            ImagePlace::Sheet(sheet) => {
                format!("{} (SHA-256 {})", sheet.file.display(), sheet.sha256)
            }
            ImagePlace::Archive(part) => part.description(),
            ImagePlace::Published(entry) => entry.description(),
            ImagePlace::Folder(folder) => {
                format!("{} (SHA-256 {})", folder.path.display(), folder.sha256)
            }
            ImagePlace::Several(parts) => {
                let parts: Vec<String> = parts.iter().map(Self::description).collect();
                parts.join("; ")
            }
        };
        format!("{}: {place}", self.domain)
    }

    /// The published folder or file, where it is one.
    pub fn published(&self) -> Option<&Entry> {
        match &self.place {
            ImagePlace::Published(entry) => Some(entry),
            ImagePlace::Sheet(_)
            | ImagePlace::Archive(_)
            | ImagePlace::Folder(_)
            | ImagePlace::Several(_) => None,
        }
    }

    /// Its domains, each with a place of its own: itself, unless it is several.
    pub fn parts(&self) -> Vec<&Self> {
        match &self.place {
            ImagePlace::Several(parts) => parts.iter().flat_map(Self::parts).collect(),
            _ => vec![self],
        }
    }

    /// A line on each of its sheets and folders that is missing although the task itself names it.
    /// Published ones are told of by their manifest.
    pub fn missing(&self, project: &Project) -> Vec<String> {
        let mut missing = Vec::new();
        for part in self.parts() {
            missing.extend(match &part.place {
                ImagePlace::Sheet(sheet) => sheet.missing(project),
                ImagePlace::Folder(folder) => folder.missing(project),
                ImagePlace::Archive(_) | ImagePlace::Published(_) | ImagePlace::Several(_) => None,
            });
        }
        missing
    }
}

/// As [`ImageSource::known_names`], of several domains in turn.
fn known_names_in_turn(
    parts: &[ImageSource],
    project: &Project,
    side: usize,
) -> Result<Option<Vec<String>>> {
    let mut lists = Vec::new();
    for part in parts {
        match part.known_names(project, side)? {
            Some(names) => lists.push(names),
            None => return Ok(None),
        }
    }
    let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
    let places = in_turn(&lengths, usize::MAX);
    let names = places
        .iter()
        .map(|(list, place)| lists[*list][*place].clone());
    Ok(Some(names.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(prefix: &str, count: usize) -> ImageSet {
        ImageSet {
            names: (0..count).map(|i| format!("{prefix}{i}")).collect(),
            pixels: vec![count as u8; count * 3],
            side: 1,
        }
    }

    #[test]
    fn several_domains_are_taken_in_turn() {
        let sets = [set("a", 3), set("b", 1), set("c", 2)];
        let joined = join_in_turn(&sets, 1, usize::MAX).unwrap();
        assert_eq!(joined.names, ["a0", "b0", "c0", "a1", "c1", "a2"]);
        let of_each: Vec<u8> = (0..joined.len()).map(|i| joined.pixels_of(i)[0]).collect();
        assert_eq!(of_each, [3, 1, 2, 3, 2, 3]);
        assert_eq!(join_in_turn(&sets, 1, 4).unwrap(), joined.first(4));
    }

    #[test]
    fn a_name_that_two_domains_share_is_refused() {
        let error = join_in_turn(&[set("a", 1), set("a", 1)], 1, 2).unwrap_err();
        assert!(error.to_string().contains("a picture named a0"), "{error}");
    }

    fn read(text: &str) -> Result<ImageSource, String> {
        serde_yaml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn one_place_and_two_domains_are_needed() {
        let sheet = "{domain: cat, sheet: {file: a.png, sha256: b}}";
        let two = read(&format!("{{domain: any, several: [{sheet}, {sheet}]}}")).unwrap();
        assert_eq!(two.parts().len(), 2);
        let keys = serde_yaml::to_string(&two).unwrap();
        assert_eq!(read(&keys).unwrap(), two);
        for (text, wanted) in [
            ("{domain: cat}".to_string(), "give one of sheet"),
            (
                format!("{{domain: any, several: [{sheet}]}}"),
                "two or more domains",
            ),
            (
                format!(
                    "{{domain: any, several: [{sheet}, {sheet}], folder: {{path: a, sha256: b}}}}"
                ),
                "give one of sheet",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
