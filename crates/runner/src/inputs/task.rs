//! A translation task: source and reference images and the networks, each known by its SHA-256.

use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::archive::ArchivePart;
use crate::inputs::image_folder::image_files;
use crate::inputs::manifest::{Entry, Input, Pins};
use crate::project::Project;
use crate::yaml::{names_in, read_yaml};
use anyhow::Result;
use egsde_data::image_file;
use egsde_data::image_set::ImageSet;
use egsde_data::resize::{Filter, resize_short_side};
use egsde_metrics::protocol::Protocol;
use egsde_models::networks::Diffusion;
use egsde_models::networks::{Build, Loaded, config_from_metadata};
use egsde_models::weights::read_safetensors;
use egsde_models::{Dse, NetworkConfig};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// A file in the repository and its hash.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HashedFile {
    /// Path relative to the project's root.
    pub file: PathBuf,
    /// Hash that the file must have, 64 hexadecimal digits.
    pub sha256: String,
}

/// Weights of a network.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "NetworkFileKeys", into = "NetworkFileKeys")]
pub enum NetworkFile {
    /// A file that ships with the project and carries its configuration.
    Shipped(HashedFile),
    /// A published checkpoint, whose configuration its manifest names.
    Published(Entry),
}

/// The keys of a [`NetworkFile`] as a task spells them.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct NetworkFileKeys {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<Entry>,
}

impl TryFrom<NetworkFileKeys> for NetworkFile {
    type Error = String;

    fn try_from(keys: NetworkFileKeys) -> Result<Self, String> {
        match keys {
            NetworkFileKeys {
                file: Some(file),
                sha256: Some(sha256),
                published: None,
            } => Ok(Self::Shipped(HashedFile { file, sha256 })),
            NetworkFileKeys {
                file: None,
                sha256: None,
                published: Some(entry),
            } => Ok(Self::Published(entry)),
            _ => Err("a network in a task needs either file and sha256, or published".into()),
        }
    }
}

impl From<NetworkFile> for NetworkFileKeys {
    fn from(network: NetworkFile) -> Self {
        match network {
            NetworkFile::Shipped(HashedFile { file, sha256 }) => Self {
                file: Some(file),
                sha256: Some(sha256),
                published: None,
            },
            NetworkFile::Published(entry) => Self {
                published: Some(entry),
                ..Self::default()
            },
        }
    }
}

/// How translations are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoringProtocol {
    /// Features of this project's CIFAR-10 network, pixels as they are.
    #[default]
    Embedded,
    /// The published evaluation of AFHQ.
    Afhq,
    /// The published evaluation of CelebA-HQ.
    Celebahq,
}

impl ScoringProtocol {
    /// The published protocol, if it is one.
    pub fn published(self) -> Option<Protocol> {
        match self {
            Self::Embedded => None,
            Self::Afhq => Some(Protocol::Afhq),
            Self::Celebahq => Some(Protocol::Celebahq),
        }
    }
}

/// Images of one domain.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "ImageSourceKeys", into = "ImageSourceKeys")]
pub struct ImageSource {
    /// The domain, for people and for the names of images that have none of their own.
    pub domain: String,
    /// The sheet, archive part or published folder that holds the images.
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
}

impl TryFrom<ImageSourceKeys> for ImageSource {
    type Error = String;

    fn try_from(keys: ImageSourceKeys) -> Result<Self, String> {
        let place = match (keys.sheet, keys.archive, keys.published) {
            (Some(sheet), None, None) => ImagePlace::Sheet(sheet),
            (None, Some(part), None) => ImagePlace::Archive(part),
            (None, None, Some(entry)) => ImagePlace::Published(entry),
            _ => {
                let domain = keys.domain;
                return Err(format!(
                    "images of {domain}: give one of sheet, archive, published"
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
        let (mut sheet, mut archive, mut published) = (None, None, None);
        match source.place {
            ImagePlace::Sheet(file) => sheet = Some(file),
            ImagePlace::Archive(part) => archive = Some(part),
            ImagePlace::Published(entry) => published = Some(entry),
        }
        Self {
            domain: source.domain,
            sheet,
            archive,
            published,
        }
    }
}

/// A file in `configs/tasks/`.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name in messages and timings, by convention the stem of the file.
    pub name: String,
    /// Name for people, as reports and the notes under tables show it.
    pub title: String,
    /// Side of an image in pixels.
    pub image_size: usize,
    /// How translations are scored, `embedded` when left out.
    #[serde(default)]
    pub protocol: ScoringProtocol,
    /// What is translated.
    pub source: ImageSource,
    /// What translations should look like; the Fréchet distance is taken to these images.
    pub reference: ImageSource,
    /// The noise predictor, trained on the target domain.
    pub diffusion: NetworkFile,
    /// The time-dependent classifier of domains that the experts evaluate.
    pub extractor: NetworkFile,
    /// Names of the extractor's classes in their order, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// The network whose features the Fréchet distance compares.
    pub features: NetworkFile,
    /// How the Fréchet distance is labelled: which features.
    pub distance: String,
}

impl HashedFile {
    /// The file's path once its hash is verified. `what` is for the error.
    ///
    /// # Errors
    /// Invalid input: the file is missing or another one.
    pub fn verified(&self, project: &Project, what: &str) -> Result<PathBuf> {
        let path = project.resolve(&self.file);
        if !path.is_file() {
            return Err(invalid_input(format!(
                "{what} {} is missing: restore it (git checkout) or make it again (just \
                 train-embedded)",
                path.display()
            )));
        }
        let found = project.sha256_once(&path)?;
        if found != self.sha256 {
            return Err(invalid_input(format!(
                "{what} {}: SHA-256 is {found}, the task expects {}: restore the file, or put the \
                 new hash into the task",
                path.display(),
                self.sha256
            )));
        }
        Ok(path)
    }
}

/// A weight file whose hash was verified.
struct LocatedWeights {
    path: PathBuf,
    /// The network they belong to, where the file does not say.
    config: Option<NetworkConfig>,
}

/// The configuration that a manifest names for a checkpoint.
fn published_config(input: &Input, project: &Project) -> Result<NetworkConfig> {
    match &input.network {
        Some(config) => read_yaml(&project.resolve(config)),
        None => Err(invalid_input(format!(
            "{}: the manifest names no network for it",
            input.key
        ))),
    }
}

impl NetworkFile {
    fn locate(&self, project: &Project) -> Result<LocatedWeights> {
        match self {
            Self::Shipped(file) => Ok(LocatedWeights {
                path: file.verified(project, "weights")?,
                config: None,
            }),
            Self::Published(entry) => {
                let input = entry.resolve(project, &Pins::read(project)?)?;
                input.verify_once(project)?;
                let config = published_config(&input, project)?;
                Ok(LocatedWeights {
                    path: input.path,
                    config: Some(config),
                })
            }
        }
    }

    /// The network's configuration without its weights: from the manifest, or from the file that
    /// carries it.
    ///
    /// # Errors
    /// Invalid input: the file is missing, another one, or carries no configuration.
    pub fn config(&self, project: &Project) -> Result<NetworkConfig> {
        let LocatedWeights { path, config } = self.locate(project)?;
        match config {
            Some(config) => Ok(config),
            None => config_from_metadata(&read_safetensors(&path)?, &path),
        }
    }

    /// The frozen network on a device in a working precision.
    ///
    /// # Errors
    /// As [`NetworkFile::config`], and where the weights do not fit.
    pub fn open<N: Build>(
        &self,
        project: &Project,
        device: Device,
        kind: Kind,
    ) -> Result<Loaded<N>> {
        let LocatedWeights { path, config } = self.locate(project)?;
        match config {
            Some(config) => {
                Loaded::open_as(&path, &config, device, kind).or_invalid_input("weights")
            }
            None => Loaded::open(&path, device, kind),
        }
    }

    /// The frozen diffusion network, of either family.
    ///
    /// # Errors
    /// As [`NetworkFile::open`].
    pub fn open_diffusion(
        &self,
        project: &Project,
        device: Device,
        kind: Kind,
    ) -> Result<Diffusion> {
        let LocatedWeights { path, config } = self.locate(project)?;
        match config {
            Some(config) => {
                Diffusion::open_as(&path, &config, device, kind).or_invalid_input("weights")
            }
            None => Diffusion::open(&path, device, kind),
        }
    }

    /// What decides the network's outputs, by content: the hash of its weights and, where they do
    /// not carry it, of its configuration. No path or name takes part.
    ///
    /// # Errors
    /// Invalid input: a manifest or configuration that cannot be read.
    pub fn content(&self, project: &Project) -> Result<String> {
        match self {
            Self::Shipped(file) => Ok(file.sha256.clone()),
            Self::Published(entry) => {
                let input = entry.resolve(project, &Pins::read(project)?)?;
                let weights = input.sha256.as_deref().unwrap_or("not known");
                let config = match input.network {
                    Some(_) => serde_json::to_string(&published_config(&input, project)?)?,
                    None => "not known".into(),
                };
                Ok(format!("{weights} {config}"))
            }
        }
    }

    /// One line that tells people which file it is.
    pub fn description(&self) -> String {
        match self {
            Self::Shipped(HashedFile { file, sha256 }) => {
                format!("{} (SHA-256 {sha256})", file.display())
            }
            Self::Published(entry) => entry.description(),
        }
    }

    fn published(&self) -> Option<&Entry> {
        match self {
            Self::Shipped(_) => None,
            Self::Published(entry) => Some(entry),
        }
    }
}

/// Images of a folder in name order, the short side resized to `side` as the published code does
/// (Pillow's bicubic). Networks need squares: another shape is named and refused.
fn load_folder(folder: &Path, side: usize, most: usize) -> Result<ImageSet> {
    let mut images = ImageSet::empty(side);
    for (stem, path) in image_files(folder)?.into_iter().take(most) {
        let image = image_file::read(&path).or_invalid_input("source picture")?;
        let resized = resize_short_side(&image, side, Filter::Bicubic)?;
        if resized.width != side || resized.height != side {
            return Err(invalid_input(format!(
                "{} is not square ({} x {} once resized): crop it first",
                path.display(),
                resized.width,
                resized.height
            )));
        }
        images.names.push(stem);
        images.pixels.extend(resized.pixels);
    }
    Ok(images)
}

impl ImageSource {
    /// Reads at most `most` images, hashes verified.
    ///
    /// # Errors
    /// Invalid input: a missing data set, with what to fetch and how, or files that are others.
    pub fn load(&self, project: &Project, side: usize, most: usize) -> Result<ImageSet> {
        match &self.place {
            ImagePlace::Sheet(sheet) => {
                let path = sheet.verified(project, "picture sheet")?;
                let at = path.display();
                let bytes = std::fs::read(&path).or_invalid_input(at)?;
                let at = path.display();
                let images =
                    ImageSet::from_sheet(&bytes, side, &self.domain).or_invalid_input(at)?;
                Ok(images.first(most))
            }
            ImagePlace::Archive(part) => Ok(part.load(project)?.first(most)),
            ImagePlace::Published(entry) => {
                let input = entry.resolve(project, &Pins::read(project)?)?;
                input.verify_once(project)?;
                load_folder(&input.path, side, most)
            }
        }
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
        };
        format!("{}: {place}", self.domain)
    }

    /// The published folder or file, where it is one.
    pub fn published(&self) -> Option<&Entry> {
        match &self.place {
            ImagePlace::Published(entry) => Some(entry),
            ImagePlace::Sheet(_) | ImagePlace::Archive(_) => None,
        }
    }
}

impl Task {
    /// Names of the tasks there are.
    pub fn names(project: &Project) -> Vec<String> {
        names_in(&project.tasks())
    }

    /// Reads `configs/tasks/NAME.yaml`.
    ///
    /// # Errors
    /// Invalid input: a mistake in the file, with its line.
    pub fn read(project: &Project, name: &str) -> Result<Self> {
        read_yaml(&project.task_file(name))
    }

    /// Its networks: diffusion, extractor, features.
    pub fn networks(&self) -> [&NetworkFile; 3] {
        [&self.diffusion, &self.extractor, &self.features]
    }

    /// The published files and folders it needs, with what is known about each.
    ///
    /// # Errors
    /// Invalid input: a manifest that cannot be read or has no such entry.
    pub fn inputs(&self, project: &Project) -> Result<Vec<Input>> {
        let pins = Pins::read(project)?;
        let images = [&self.source, &self.reference]
            .into_iter()
            .filter_map(ImageSource::published);
        let networks = self
            .networks()
            .into_iter()
            .filter_map(NetworkFile::published);
        images
            .chain(networks)
            .map(|entry| entry.resolve(project, &pins))
            .collect()
    }

    /// Learns the hash of every published input that is there and has none yet; tells which.
    ///
    /// # Errors
    /// Invalid input: a file that is not what its manifest says, or a hash that cannot be kept.
    pub fn pin(&self, project: &Project) -> Result<Vec<String>> {
        let mut learnt = Vec::new();
        for input in self.inputs(project)? {
            if input.exists() && !input.is_pinned() {
                let sha256 = input.verify_once(project)?;
                Pins::add(project, &input.key, &sha256)?;
                learnt.push(format!(
                    "{}: SHA-256 {sha256} learnt on first sight, kept in datasets/pins.yaml",
                    input.key
                ));
            }
        }
        Ok(learnt)
    }

    /// The extractor on a device.
    ///
    /// # Errors
    /// As [`NetworkFile::open`].
    pub fn open_extractor(
        &self,
        project: &Project,
        device: Device,
        kind: Kind,
    ) -> Result<Loaded<Dse>> {
        self.extractor.open(project, device, kind)
    }
}
