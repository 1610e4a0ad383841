//! The images of a task's reference, of which rows draw single ones.

use super::cropped::read_cropped;
use super::image_folder::{image_files, read_images};
use super::image_source::{ImagePlace, ImageSource};
use super::manifest::Pins;
use crate::error::{OrInvalidInput, invalid_input};
use crate::project::Project;
use anyhow::Result;
use egsde_data::image_file::{self, Rgb};
use egsde_data::image_set::ImageSet;
use egsde_data::resize::{Filter, resize};
use egsde_sampler::generators::ReferenceImages;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// How one image of a folder becomes a square of some side.
type ReadImage = fn(&Path, usize, Filter) -> Result<Rgb>;

/// A published image, resized to a square whatever its shape, as StarGAN v2's loader does.
fn read_published(path: &Path, side: usize, filter: Filter) -> Result<Rgb> {
    let image = image_file::read(path).or_invalid_input("reference picture")?;
    resize(&image, side, side, filter).or_invalid_input(path.display())
}

/// Where the images are.
enum Place {
    /// In memory.
    Set(ImageSet),
    /// In files, in the order of their names. A published folder is of gigabytes: an image is read
    /// when it is drawn.
    Files(Vec<PathBuf>, ReadImage),
}

/// The images of a task's reference as a network sees them.
pub struct References {
    place: Place,
    side: usize,
    filter: Filter,
}

impl References {
    /// Finds the images, hashes verified. Files are resized to `side` px with `filter` when they
    /// are drawn.
    ///
    /// # Errors
    /// Invalid input: they are missing, others, or a file of statistics.
    pub fn open(
        source: &ImageSource,
        project: &Project,
        side: usize,
        filter: Filter,
    ) -> Result<Self> {
        let place = match &source.place {
            ImagePlace::Sheet(_) | ImagePlace::Archive(_) | ImagePlace::Several(_) => {
                Place::Set(source.load(project, side, usize::MAX)?)
            }
            ImagePlace::Published(entry) => {
                Self::check(source, project)?;
                let input = entry.resolve(project, &Pins::read(project)?)?;
                input.verify_once(project)?;
                Place::Files(
                    image_files(&input.path)?.into_values().collect(),
                    read_published,
                )
            }
            ImagePlace::Folder(folder) => {
                let files = image_files(&folder.verified(project)?)?;
                Place::Files(files.into_values().collect(), read_cropped)
            }
        };
        Ok(Self {
            place,
            side,
            filter,
        })
    }

    /// Refuses a reference that has no images to draw, as far as its task tells.
    ///
    /// # Errors
    /// Invalid input: a file of statistics.
    pub fn check(source: &ImageSource, project: &Project) -> Result<()> {
        for entry in source
            .parts()
            .into_iter()
            .filter_map(ImageSource::published)
        {
            let input = entry.resolve(project, &Pins::default())?;
            if input.pictures.is_none() {
                return Err(invalid_input(format!(
                    "{} is no folder of pictures: guidance: reference draws pictures of the \
                     reference",
                    input.key
                )));
            }
        }
        Ok(())
    }

    fn select(&self, indices: &[usize]) -> Result<ImageSet> {
        let (files, read) = match &self.place {
            Place::Set(images) => return Ok(images.select(indices)),
            Place::Files(files, read) => (files, read),
        };
        let drawn = indices.iter().map(|i| files[*i].clone());
        let drawn: Vec<_> = drawn
            .map(|path| (path.display().to_string(), path))
            .collect();
        read_images(&drawn, self.side, |path| read(path, self.side, self.filter))
    }
}

impl ReferenceImages for References {
    fn count(&self) -> usize {
        match &self.place {
            Place::Set(images) => images.len(),
            Place::Files(files, _) => files.len(),
        }
    }

    fn images(&self, indices: &[usize]) -> Result<Tensor> {
        Ok(self.select(indices)?.tensor() * 2.0 - 1.0)
    }
}
