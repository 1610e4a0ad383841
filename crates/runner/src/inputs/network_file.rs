//! Weights of a network as a task names them.

use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::hashed::HashedFile;
use crate::inputs::manifest::{Entry, Input, Pins};
use crate::project::Project;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_models::NetworkConfig;
use egsde_models::networks::{Build, Diffusion, Loaded, NETWORK_KEY, config_from_metadata};
use egsde_models::weights::{read_metadata, read_safetensors};
use egsde_sampler::generators::{Generator, GeneratorName};
use egsde_training::recipe::{RECIPE_KEY, Recipe};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Weights of a network.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "NetworkFileKeys", into = "NetworkFileKeys")]
pub enum NetworkFile {
    /// A file that carries its configuration: those that ship with the project, and own ones.
    Shipped(HashedFile),
    /// A file of any format beside the file of its configuration.
    Configured(ConfiguredFile),
    /// A published checkpoint, whose configuration its manifest names.
    Published(Entry),
}

/// A weight file and the file of its network's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredFile {
    /// The weights.
    pub weights: HashedFile,
    /// Configuration file (`configs/networks/*.yaml`), relative to the project's root.
    pub network: PathBuf,
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
    network: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<Entry>,
}

impl TryFrom<NetworkFileKeys> for NetworkFile {
    type Error = String;

    fn try_from(keys: NetworkFileKeys) -> Result<Self, String> {
        let NetworkFileKeys {
            file,
            sha256,
            network,
            published,
        } = keys;
        match (file, sha256, network, published) {
            (Some(file), Some(sha256), None, None) => {
                Ok(Self::Shipped(HashedFile { file, sha256 }))
            }
            (Some(file), Some(sha256), Some(network), None) => {
                let weights = HashedFile { file, sha256 };
                Ok(Self::Configured(ConfiguredFile { weights, network }))
            }
            (None, None, None, Some(entry)) => Ok(Self::Published(entry)),
            _ => Err(
                "a network in a task needs either file and sha256 (and network, where the file \
                 does not carry its configuration), or published"
                    .into(),
            ),
        }
    }
}

impl From<NetworkFile> for NetworkFileKeys {
    fn from(network: NetworkFile) -> Self {
        match network {
            NetworkFile::Shipped(HashedFile { file, sha256 }) => Self {
                file: Some(file),
                sha256: Some(sha256),
                ..Self::default()
            },
            NetworkFile::Configured(ConfiguredFile { weights, network }) => Self {
                file: Some(weights.file),
                sha256: Some(weights.sha256),
                network: Some(network),
                ..Self::default()
            },
            NetworkFile::Published(entry) => Self {
                published: Some(entry),
                ..Self::default()
            },
        }
    }
}

/// A weight file whose hash was verified.
pub struct LocatedWeights {
    /// Where it lies.
    pub path: PathBuf,
    /// The network they belong to, where the file does not say.
    pub config: Option<NetworkConfig>,
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

/// The configuration in the header of a safetensors file; none where there is none.
fn config_in_header(path: &Path) -> Option<NetworkConfig> {
    let metadata = read_metadata(path)?;
    serde_json::from_str(metadata.get(NETWORK_KEY)?).ok()
}

/// The classes in the recipe of `egsde train` in the header of a safetensors file; none where
/// there is no recipe.
fn classes_in_header(path: &Path) -> Option<Vec<String>> {
    let metadata = read_metadata(path)?;
    let recipe: Recipe = serde_json::from_str(metadata.get(RECIPE_KEY)?).ok()?;
    Some(recipe.classes)
}

impl NetworkFile {
    /// Finds the weights and verifies their hash.
    ///
    /// # Errors
    /// Invalid input: the file is missing or another one, or a manifest cannot be read.
    pub fn locate(&self, project: &Project) -> Result<LocatedWeights> {
        match self {
            Self::Shipped(file) => Ok(LocatedWeights {
                path: file.verified(project, "weights")?,
                config: None,
            }),
            Self::Configured(ConfiguredFile { weights, network }) => Ok(LocatedWeights {
                path: weights.verified(project, "weights")?,
                config: Some(read_yaml(&project.resolve(network))?),
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

    /// The network's configuration without its weights: from the manifest or a file of its own, or
    /// from the weight file that carries it.
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

    /// The configuration as far as it can be told at once: no hash is computed and no weight is
    /// read. None where a file is missing or tells nothing.
    pub fn known_config(&self, project: &Project) -> Option<NetworkConfig> {
        match self {
            Self::Shipped(file) => config_in_header(&project.resolve(&file.file)),
            Self::Configured(file) => read_yaml(&project.resolve(&file.network)).ok(),
            Self::Published(entry) => {
                let input = entry.resolve(project, &Pins::default()).ok()?;
                published_config(&input, project).ok()
            }
        }
    }

    /// Names of the classes with which `egsde train` trained it, in their order; none of others.
    pub fn trained_classes(&self, project: &Project) -> Vec<String> {
        let file = self.hashed().map(|file| project.resolve(&file.file));
        let classes = file.and_then(|file| classes_in_header(&file));
        classes.unwrap_or_default()
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

    /// The frozen generator of a method, for images of `side` px.
    ///
    /// # Errors
    /// As [`NetworkFile::open`], and a network that is not the method's or not for such images.
    pub fn open_generator(
        &self,
        name: GeneratorName,
        side: usize,
        project: &Project,
        device: Device,
        kind: Kind,
    ) -> Result<Generator> {
        let config = self.config(project)?;
        name.check(&config, side)
            .map_err(|error| invalid_input(error.to_string()))?;
        Ok(match name {
            GeneratorName::Cut | GeneratorName::Cyclegan => {
                Generator::Resnet(self.open(project, device, kind)?)
            }
            GeneratorName::StarganV2 => {
                Generator::StarganV2(Box::new(self.open(project, device, kind)?))
            }
        })
    }

    /// What decides the network's outputs, by content: the hash of its weights and, where they do
    /// not carry it, of its configuration. No path or name takes part.
    ///
    /// # Errors
    /// Invalid input: a manifest or configuration that cannot be read.
    pub fn content(&self, project: &Project) -> Result<String> {
        match self {
            Self::Shipped(file) => Ok(file.sha256.clone()),
            Self::Configured(ConfiguredFile { weights, network }) => {
                let config: NetworkConfig = read_yaml(&project.resolve(network))?;
                Ok(format!(
                    "{} {}",
                    weights.sha256,
                    serde_json::to_string(&config)?
                ))
            }
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
        match self.hashed() {
            Some(HashedFile { file, sha256 }) => {
                format!("{} (SHA-256 {sha256})", file.display())
            }
            None => self.published().map_or(String::new(), Entry::description),
        }
    }

    /// The file and its hash, where the task itself has them.
    pub fn hashed(&self) -> Option<&HashedFile> {
        match self {
            Self::Shipped(file) => Some(file),
            Self::Configured(file) => Some(&file.weights),
            Self::Published(_) => None,
        }
    }

    /// The same file under another hash; a published one stays as it is.
    pub fn with_sha256(&self, sha256: String) -> Self {
        let mut changed = self.clone();
        match &mut changed {
            Self::Shipped(file) => file.sha256 = sha256,
            Self::Configured(file) => file.weights.sha256 = sha256,
            Self::Published(_) => {}
        }
        changed
    }

    /// The manifest's entry, where it is a published file.
    pub fn published(&self) -> Option<&Entry> {
        match self {
            Self::Shipped(_) | Self::Configured(_) => None,
            Self::Published(entry) => Some(entry),
        }
    }
}
