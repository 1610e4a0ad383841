//! A task of the user's own pictures and networks, made of folders and files and checked whole.

use super::cropped::{Survey, survey};
use super::hashed::{HashedFile, HashedFolder};
use super::image_folder::folder_sha256;
use super::image_source::{ImagePlace, ImageSource};
use super::network_file::{ConfiguredFile, NetworkFile};
use super::task::{ScoringProtocol, Task};
use crate::error::{OrInvalidInput, invalid_input};
use crate::paths::name_problem;
use crate::project::Project;
use crate::yaml::names_in;
use anyhow::Result;
use egsde_data::files::sha256_file;
use egsde_data::nearest::offer_path;
use egsde_metrics::frechet::FEWEST_FOR_FID;
use egsde_models::NetworkConfig;
use egsde_sampler::generators::GeneratorName;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tch::{Device, Kind};

/// A weight file, and the file of its network's configuration where it does not carry it.
#[derive(Debug, Clone)]
pub struct OwnNetwork {
    /// The weights.
    pub file: PathBuf,
    /// `configs/networks/*.yaml`.
    pub network: Option<PathBuf>,
    /// The option that names the configuration, for errors.
    pub option: &'static str,
}

/// A folder of pictures and the name of its domain; the folder's own where none is given.
#[derive(Debug, Clone)]
pub struct OwnFolder {
    /// The folder.
    pub folder: PathBuf,
    /// The domain.
    pub domain: Option<String>,
}

/// What a task is made of.
#[derive(Debug, Clone)]
pub struct OwnTask {
    /// Its name, which is also its file's.
    pub name: String,
    /// Heading for people; made of the domains where it is none.
    pub title: Option<String>,
    /// What is translated.
    pub source: OwnFolder,
    /// What translations should look like.
    pub reference: OwnFolder,
    /// The noise predictor.
    pub diffusion: OwnNetwork,
    /// The classifier of domains.
    pub extractor: OwnNetwork,
    /// The feature network; FID Inception where it is there, else the network that ships.
    pub features: Option<OwnNetwork>,
    /// Generators to compare with, by method.
    pub generators: BTreeMap<GeneratorName, OwnNetwork>,
    /// Side of the images; that of the diffusion network when none.
    pub image_size: Option<usize>,
    /// Names of the extractor's classes; those it was trained with when empty.
    pub classes: Vec<String>,
}

/// A checked task, and what its folders hold.
#[derive(Debug)]
pub struct CheckedTask {
    /// The task.
    pub task: Task,
    /// The pictures that are translated.
    pub source: Survey,
    /// The pictures of the reference.
    pub reference: Survey,
}

/// The feature network that ships.
const CIFAR_FEATURES: &str = "checkpoints/embedded/cifar10_features.safetensors";

/// The number under a key of a configuration, whatever the family.
fn config_number(config: &NetworkConfig, key: &str) -> Option<usize> {
    let value = serde_json::to_value(config).ok()?;
    usize::try_from(value.get(key)?.as_u64()?).ok()
}

impl OwnFolder {
    fn domain(&self) -> String {
        let name = self.folder.canonicalize().unwrap_or(self.folder.clone());
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        self.domain.clone().unwrap_or(name.into_owned())
    }

    /// As the task names it.
    fn source(&self, project: &Project) -> Result<ImageSource> {
        let folder = &self.folder;
        if !folder.is_dir() {
            return Err(invalid_input(format!(
                "no folder {}{}",
                folder.display(),
                offer_path(folder)
            )));
        }
        Ok(ImageSource {
            domain: self.domain(),
            place: ImagePlace::Folder(HashedFolder {
                path: project.relative(folder)?,
                sha256: folder_sha256(folder)?,
            }),
        })
    }
}

impl OwnNetwork {
    /// As the task names it.
    fn network_file(&self, project: &Project) -> Result<NetworkFile> {
        let Self {
            file,
            network,
            option,
        } = self;
        if !file.is_file() {
            return Err(invalid_input(format!(
                "no weights {}{}",
                file.display(),
                offer_path(file)
            )));
        }
        let weights = HashedFile {
            file: project.relative(file)?,
            sha256: sha256_file(file).or_invalid_input("weights")?,
        };
        if let Some(network) = network {
            let network = project.relative(network)?;
            return Ok(NetworkFile::Configured(ConfiguredFile { weights, network }));
        }
        let shipped = NetworkFile::Shipped(weights);
        if shipped.known_config(project).is_some() {
            return Ok(shipped);
        }
        let known = names_in(&project.resolve("configs/networks")).join(", ");
        Err(invalid_input(format!(
            "{} does not carry its network's configuration: name that with {option} FILE \
             (configs/networks has {known})",
            file.display()
        )))
    }
}

impl OwnTask {
    /// The feature network and how its distance is called.
    fn features(&self, project: &Project) -> Result<(NetworkFile, &'static str)> {
        let (weights, network) = (project.inception(), project.inception_config());
        let shipped = project.resolve(CIFAR_FEATURES);
        let chosen = match &self.features {
            Some(features) => features.clone(),
            None if weights.is_file() && network.is_file() => OwnNetwork {
                file: weights,
                network: Some(network),
                option: "--features-network",
            },
            None if shipped.is_file() => OwnNetwork {
                file: shipped,
                network: None,
                option: "--features-network",
            },
            None => {
                return Err(invalid_input(format!(
                    "no feature network: fetch {} (github.com/mseitzer/pytorch-fid), or name one \
                     with --features",
                    weights.display()
                )));
            }
        };
        let file = chosen.network_file(project)?;
        let label = match file.config(project)? {
            NetworkConfig::Inception(_) => "FID (Inception, raw pixels)",
            _ => "Fréchet distance of this project's CIFAR-10 features",
        };
        Ok((file, label))
    }

    /// The side of the images, on which the networks must agree.
    fn image_size(&self, networks: [&NetworkConfig; 2]) -> Result<usize> {
        let [diffusion, extractor] = networks.map(|config| config_number(config, "image_size"));
        let Some(size) = diffusion else {
            return Err(invalid_input(format!(
                "--diffusion: a network of kind {} predicts no noise",
                networks[0].kind()
            )));
        };
        for (what, other) in [
            ("--image-size", self.image_size),
            ("the extractor", extractor),
        ] {
            if let Some(other) = other.filter(|other| *other != size) {
                return Err(invalid_input(format!(
                    "the diffusion network takes pictures of {size} px, {what} has {other}"
                )));
            }
        }
        Ok(size)
    }

    /// The names of the extractor's classes, as many as it has.
    fn classes(&self, extractor: &NetworkFile, project: &Project) -> Result<Vec<String>> {
        let config = extractor.config(project)?;
        let classes = match self.classes.as_slice() {
            [] => extractor.trained_classes(project),
            given => given.to_vec(),
        };
        match config_number(&config, "num_classes") {
            Some(count) if !classes.is_empty() && classes.len() != count => {
                Err(invalid_input(format!(
                    "--classes: the extractor has {count} classes, not {}: {}",
                    classes.len(),
                    classes.join(", ")
                )))
            }
            _ => Ok(classes),
        }
    }

    /// The generators, each opened once.
    fn generators(
        &self,
        image_size: usize,
        project: &Project,
    ) -> Result<BTreeMap<GeneratorName, NetworkFile>> {
        let mut generators = BTreeMap::new();
        for (name, own) in &self.generators {
            let file = own.network_file(project)?;
            file.open_generator(*name, image_size, project, Device::Cpu, Kind::Float)
                .or_invalid_input(format!("--generator {name}"))?;
            generators.insert(*name, file);
        }
        Ok(generators)
    }

    /// Reads every picture and opens every network.
    ///
    /// # Errors
    /// Invalid input: a folder or file that is missing or cannot be read, networks that do not fit
    /// each other or their configurations, or fewer than two reference pictures.
    pub fn check(&self, project: &Project) -> Result<CheckedTask> {
        if let Some(problem) = name_problem(&self.name, "a task's") {
            return Err(invalid_input(problem));
        }
        let source = self.source.source(project)?;
        let reference = self.reference.source(project)?;
        let diffusion = self.diffusion.network_file(project)?;
        let extractor = self.extractor.network_file(project)?;
        let configs = [&diffusion.config(project)?, &extractor.config(project)?];
        let image_size = self.image_size(configs)?;
        let classes = self.classes(&extractor, project)?;
        let (features, label) = self.features(project)?;
        let (kind, cpu) = (Kind::Float, Device::Cpu);
        diffusion
            .open_diffusion(project, cpu, kind)
            .or_invalid_input("--diffusion")?;
        let surveys = [
            survey(&self.source.folder, image_size)?,
            survey(&self.reference.folder, image_size)?,
        ];
        let [source_survey, reference_survey] = surveys;
        if reference_survey.count < FEWEST_FOR_FID {
            return Err(invalid_input(format!(
                "{} has a single picture: the Fréchet distance needs at least {FEWEST_FOR_FID}",
                self.reference.folder.display()
            )));
        }
        let title = format!("{} -> {}, {image_size} px", source.domain, reference.domain);
        let task = Task {
            name: self.name.clone(),
            title: self.title.clone().unwrap_or(title),
            image_size,
            protocol: ScoringProtocol::Embedded,
            distance: format!(
                "{label} to the {} pictures of {}",
                reference_survey.count, reference.domain
            ),
            source,
            reference,
            diffusion,
            extractor,
            generators: self.generators(image_size, project)?,
            classes,
            features,
            table: Some(format!("experiments/{}.yaml", self.name).into()),
        };
        task.open_extractor(project, cpu, kind)
            .or_invalid_input("--extractor")?;
        Ok(CheckedTask {
            task,
            source: source_survey,
            reference: reference_survey,
        })
    }
}
