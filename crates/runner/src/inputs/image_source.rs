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
}

impl TryFrom<ImageSourceKeys> for ImageSource {
    type Error = String;

    fn try_from(keys: ImageSourceKeys) -> Result<Self, String> {
        let place = match (keys.sheet, keys.archive, keys.published, keys.folder) {
            (Some(sheet), None, None, None) => ImagePlace::Sheet(sheet),
            (None, Some(part), None, None) => ImagePlace::Archive(part),
            (None, None, Some(entry), None) => ImagePlace::Published(entry),
            (None, None, None, Some(folder)) => ImagePlace::Folder(folder),
            _ => {
                let domain = keys.domain;
                return Err(format!(
                    "images of {domain}: give one of sheet, archive, published, folder"
                ));
            }
        };
        Ok(Self {
            domain: keys.domain,
            place,
        })
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
        };
        match source.place {
            ImagePlace::Sheet(file) => keys.sheet = Some(file),
            ImagePlace::Archive(part) => keys.archive = Some(part),
            ImagePlace::Published(entry) => keys.published = Some(entry),
            ImagePlace::Folder(folder) => keys.folder = Some(folder),
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
        };
        format!("{}: {place}", self.domain)
    }

    /// The published folder or file, where it is one.
    pub fn published(&self) -> Option<&Entry> {
        match &self.place {
            ImagePlace::Published(entry) => Some(entry),
            ImagePlace::Sheet(_) | ImagePlace::Archive(_) | ImagePlace::Folder(_) => None,
        }
    }

    /// One line on images that are missing although the task itself names them; none where they are
    /// there. Published ones are told of by their manifest.
    pub fn missing(&self, project: &Project) -> Option<String> {
        match &self.place {
            ImagePlace::Sheet(sheet) => sheet.missing(project),
            ImagePlace::Folder(folder) => folder.missing(project),
            ImagePlace::Archive(_) | ImagePlace::Published(_) => None,
        }
    }
}
