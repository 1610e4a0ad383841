//! A translation task: source and reference pictures and the networks, each file known by its SHA-256.

use crate::dataset::ArchiveManifest;
use crate::error::{Problem, UserError};
use crate::manifest::{Entry, Input, Pins, listing};
use crate::yaml::{names_in, read_yaml};
use anyhow::Result;
use egsde_metrics::cifar10::{CLASSES, Cifar10};
use egsde_metrics::image_file;
use egsde_metrics::pictures::Pictures;
use egsde_metrics::protocol::Protocol;
use egsde_metrics::resize::{Filter, resize_short_side};
use egsde_models::NetworkConfig;
use egsde_models::files::sha256_file;
use egsde_models::network::{Build, Loaded};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A file in the repository and its hash.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HashedFile {
    pub file: PathBuf,
    pub sha256: String,
}

/// Weights: a file that ships and carries its configuration, or a published checkpoint of a network known by its manifest.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Entry>,
}

/// How translations are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// Features of this project's CIFAR-10 network, pixels as they are.
    #[default]
    Embedded,
    /// The published evaluation of AFHQ.
    Afhq,
    /// The published evaluation of CelebA-HQ.
    Celebahq,
}

impl Judgement {
    /// The published protocol, if it is one.
    pub fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Embedded => None,
            Self::Afhq => Some(Protocol::Afhq),
            Self::Celebahq => Some(Protocol::Celebahq),
        }
    }
}

/// Pictures: a sheet that ships, one class of an archive's split, a published folder, or (as a reference) its statistics.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PictureSource {
    /// The domain, for people and for picture names.
    pub domain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<HashedFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchivePart>,
    /// A folder of pictures, or for a reference a statistics file (`.npz`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Entry>,
}

/// Pictures of one class out of a data set archive.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ArchivePart {
    /// Manifest file.
    pub manifest: PathBuf,
    /// train or test.
    pub split: String,
    pub class: String,
}

/// A file in `tasks/`.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Task {
    pub name: String,
    pub title: String,
    /// Side of a picture in pixels.
    pub image_size: usize,
    #[serde(default)]
    pub protocol: Judgement,
    pub source: PictureSource,
    /// What translations should look like; the Fréchet distance is taken to these.
    pub reference: PictureSource,
    pub diffusion: NetworkFile,
    pub extractor: NetworkFile,
    /// Names of the extractor's classes in their order, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// What the Fréchet distance looks through.
    pub features: NetworkFile,
    /// How the Fréchet distance is labelled: which features.
    pub distance: String,
}

/// Names of the tasks there are.
pub fn names(root: &Path) -> Vec<String> {
    names_in(&root.join("tasks"))
}

impl HashedFile {
    /// The file's path once its hash is verified. `what` is for the error.
    pub fn verified(&self, root: &Path, what: &str) -> Result<PathBuf> {
        let path = root.join(&self.file);
        if !path.is_file() {
            return Err(Problem::user(format!(
                "{what} {} is missing: restore it (git checkout) or make it again (just train-embedded)",
                path.display()
            )));
        }
        let found = sha256_file(&path)?;
        if found != self.sha256 {
            return Err(Problem::user(format!(
                "{what} {}: SHA-256 is {found}, the task expects {}: restore the file, or put the new hash into the task",
                path.display(),
                self.sha256
            )));
        }
        Ok(path)
    }
}

impl NetworkFile {
    /// The weights' path once their hash is verified, and the network they belong to when the file does not say.
    fn locate(&self, root: &Path) -> Result<(PathBuf, Option<NetworkConfig>)> {
        match (&self.file, &self.sha256, &self.published) {
            (Some(file), Some(sha256), None) => {
                let file = HashedFile {
                    file: file.clone(),
                    sha256: sha256.clone(),
                };
                Ok((file.verified(root, "weights")?, None))
            }
            (None, None, Some(entry)) => {
                let input = entry.resolve(root, &Pins::read(root)?)?;
                input.verify()?;
                let config = input.network.as_ref();
                let config = config.ok_or_else(|| {
                    Problem::user(format!(
                        "{}: the manifest names no network for it",
                        input.key
                    ))
                })?;
                Ok((input.path, Some(read_yaml(&root.join(config))?)))
            }
            _ => Err(Problem::user(
                "a network in a task needs either file and sha256, or published",
            )),
        }
    }

    /// The network's configuration without its weights: from the manifest, or from the file that carries it.
    pub fn config(&self, root: &Path) -> Result<NetworkConfig> {
        let (path, config) = self.locate(root)?;
        match config {
            Some(config) => Ok(config),
            None => egsde_models::network::network_of(
                &egsde_models::weights::read_safetensors(&path)?,
                &path,
            ),
        }
    }

    /// The frozen network on a device in a working precision.
    pub fn open<N: Build>(
        &self,
        root: &Path,
        device: tch::Device,
        kind: tch::Kind,
    ) -> Result<Loaded<N>> {
        let (path, config) = self.locate(root)?;
        match config {
            Some(config) => Loaded::open_as(&path, &config, device, kind).user("weights"),
            None => Loaded::open(&path, device, kind),
        }
    }
}

/// Pictures of a folder in name order, the short side resized to `side` as the published code does (Pillow's bicubic).
/// Networks need squares: another shape is named and refused.
fn load_folder(folder: &Path, side: usize, most: usize) -> Result<Pictures> {
    let mut pictures = Pictures::empty(side);
    for (stem, path) in listing(folder)?.into_iter().take(most) {
        let picture = resize_short_side(
            &image_file::read(&path).user("source picture")?,
            side,
            Filter::Bicubic,
        )?;
        if picture.width != side || picture.height != side {
            let (w, h) = (picture.width, picture.height);
            return Err(Problem::user(format!(
                "{} is not square ({w} x {h} once resized): crop it first",
                path.display()
            )));
        }
        pictures.names.push(stem);
        pictures.pixels.extend(picture.pixels);
    }
    Ok(pictures)
}

impl PictureSource {
    /// Reads the pictures (at most `most`), hashes verified. A missing data set says what to fetch and how.
    pub fn load(&self, root: &Path, side: usize, most: usize) -> Result<Pictures> {
        match (&self.sheet, &self.archive, &self.published) {
            (Some(sheet), None, None) => {
                let path = sheet.verified(root, "picture sheet")?;
                let bytes = std::fs::read(&path).user(path.display())?;
                Ok(Pictures::from_sheet(&bytes, side, &self.domain)
                    .user(path.display())?
                    .first(most))
            }
            (None, Some(part), None) => Ok(part.load(root)?.first(most)),
            (None, None, Some(entry)) => {
                let input = entry.resolve(root, &Pins::read(root)?)?;
                input.verify()?;
                load_folder(&input.path, side, most)
            }
            _ => Err(Problem::user(format!(
                "pictures of {}: give one of sheet, archive, published",
                self.domain
            ))),
        }
    }
}

impl ArchivePart {
    fn load(&self, root: &Path) -> Result<Pictures> {
        let manifest: ArchiveManifest = read_yaml(&root.join(&self.manifest))?;
        let (path, _) = manifest.locate(root)?;
        let data = Cifar10::open(&path)?;
        let label = CLASSES.iter().position(|c| *c == self.class);
        let label = label.ok_or_else(|| {
            Problem::user(format!(
                "no class {:?}; there are {}",
                self.class,
                CLASSES.join(", ")
            ))
        })?;
        match self.split.as_str() {
            "train" => Ok(data.train.of_class(label as u8)),
            "test" => Ok(data.test.of_class(label as u8)),
            other => Err(Problem::user(format!(
                "no split {other:?}; there are train and test"
            ))),
        }
    }
}

impl Task {
    /// Reads `tasks/NAME.yaml`.
    pub fn read(root: &Path, name: &str) -> Result<Self> {
        read_yaml(&root.join("tasks").join(format!("{name}.yaml")))
    }

    /// The published files and folders it needs, with what is known of each.
    pub fn inputs(&self, root: &Path) -> Result<Vec<Input>> {
        let pins = Pins::read(root)?;
        let pictures = [&self.source, &self.reference].map(|s| &s.published);
        let networks = [&self.diffusion, &self.extractor, &self.features].map(|n| &n.published);
        let entries = pictures.into_iter().chain(networks).flatten();
        entries.map(|e| e.resolve(root, &pins)).collect()
    }

    /// Learns the hash of every published input that is there and has none yet; says which.
    pub fn pin(&self, root: &Path) -> Result<Vec<String>> {
        let new: Vec<Input> = self
            .inputs(root)?
            .into_iter()
            .filter(|i| i.exists() && !i.is_pinned())
            .collect();
        let learn = |input: Input| {
            let sha256 = input.verify()?;
            Pins::add(root, &input.key, &sha256)?;
            Ok(format!(
                "{}: SHA-256 {sha256} learnt on first sight, kept in datasets/pins.yaml",
                input.key
            ))
        };
        new.into_iter().map(learn).collect()
    }
}
