//! A translation task: source and reference images and the networks, each known by its SHA-256.

use crate::inputs::image_source::ImageSource;
use crate::inputs::manifest::{Input, Pins};
use crate::inputs::network_file::NetworkFile;
use crate::project::Project;
use crate::yaml::{names_in, read_yaml};
use anyhow::Result;
use egsde_metrics::protocol::Protocol;
use egsde_models::networks::Loaded;
use egsde_models::{Dse, NetworkConfig};
use egsde_sampler::generators::GeneratorName;
use egsde_sampler::settings::DiffusionFacts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tch::{Device, Kind};

/// How translations are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoringProtocol {
    /// Features of the task's feature network, pixels as they are.
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
    /// The networks of the methods that translate in one evaluation, by method.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generators: BTreeMap<GeneratorName, NetworkFile>,
    /// Names of the extractor's classes in their order, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// The network whose features the Fréchet distance compares.
    pub features: NetworkFile,
    /// How the Fréchet distance is labelled: which features.
    pub distance: String,
    /// The experiment file of the task's table, whose rows `egsde translate` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<PathBuf>,
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

    /// Its networks: diffusion, extractor, features, generators.
    pub fn networks(&self) -> Vec<&NetworkFile> {
        let mut networks = vec![&self.diffusion, &self.extractor, &self.features];
        networks.extend(self.generators.values());
        networks
    }

    /// The domains of StarGAN v2 by label; none where the task has no such generator, or where that
    /// cannot be told at once.
    pub fn stargan_v2_domains(&self, project: &Project) -> Option<Vec<String>> {
        let generator = self.generators.get(&GeneratorName::StarganV2)?;
        match generator.known_config(project)? {
            NetworkConfig::StarganV2(config) => Some(config.domains),
            _ => None,
        }
    }

    /// The place of the reference's domain among the classes of the feature network; none where it
    /// knows no class of that name.
    pub fn target_class(&self, project: &Project) -> Option<usize> {
        let classes = self.features.trained_classes(project);
        classes
            .iter()
            .position(|class| *class == self.reference.domain)
    }

    /// What rows are checked against of the diffusion network; none where that cannot be told at
    /// once.
    pub fn diffusion_facts(&self, project: &Project) -> Option<DiffusionFacts> {
        let config = self.diffusion.known_config(project)?;
        Some(DiffusionFacts::new(&config))
    }

    /// One line on each of its images' files and folders and of these networks that is missing,
    /// with how to get it. Published files are told of by their manifest.
    pub fn missing_files(&self, networks: &[&NetworkFile], project: &Project) -> Vec<String> {
        let images = [&self.source, &self.reference].into_iter();
        let mut missing: Vec<String> = images.flat_map(|source| source.missing(project)).collect();
        let files = networks.iter().filter_map(|network| network.hashed());
        missing.extend(files.filter_map(|file| file.missing(project)));
        missing
    }

    /// All published files and folders it names, with what is known about each.
    ///
    /// # Errors
    /// As [`Task::inputs_with`].
    pub fn inputs(&self, project: &Project) -> Result<Vec<Input>> {
        self.inputs_with(&self.networks(), project)
    }

    /// The published files and folders of its images and of these networks.
    ///
    /// # Errors
    /// Invalid input: a manifest that cannot be read or has no such entry.
    pub fn inputs_with(&self, networks: &[&NetworkFile], project: &Project) -> Result<Vec<Input>> {
        let pins = Pins::read(project)?;
        let images = [&self.source, &self.reference]
            .into_iter()
            .flat_map(ImageSource::parts)
            .filter_map(ImageSource::published);
        let networks = networks.iter().filter_map(|network| network.published());
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
        self.hash_new_inputs(project, |key, sha256| {
            Pins::add(project, key, sha256)?;
            learnt.push(format!(
                "{key}: SHA-256 {sha256} learnt on first sight, kept in datasets/pins.yaml"
            ));
            Ok(())
        })?;
        Ok(learnt)
    }

    /// As [`Task::pin`], for this process alone: nothing is written.
    ///
    /// # Errors
    /// Invalid input: a file that is not what its manifest says.
    pub fn learn(&self, project: &Project) -> Result<()> {
        self.hash_new_inputs(project, |key, sha256| {
            project.learn(key, sha256);
            Ok(())
        })
    }

    /// Hands the key and hash of every published input to `keep` that is there and has no known
    /// hash yet.
    fn hash_new_inputs(
        &self,
        project: &Project,
        mut keep: impl FnMut(&str, &str) -> Result<()>,
    ) -> Result<()> {
        for input in self.inputs(project)? {
            if input.exists() && !input.is_pinned() {
                keep(&input.key, &input.verify_once(project)?)?;
            }
        }
        Ok(())
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
