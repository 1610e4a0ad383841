//! One job: a row at one seed, named by the SHA-256 of all that decides its images.

use crate::config::experiment::Experiment;
use crate::config::image_format::ImageFormat;
use crate::config::precision::Precision;
use crate::config::row::Row;
use crate::inputs::image_folder::folder_sha256;
use crate::inputs::task::Task;
use crate::plan::settings::{NetworkFacts, settle};
use crate::project::Project;
use anyhow::Result;
use egsde_data::files::sha256_hex;
use egsde_data::resize::Filter;
use egsde_sampler::generators::GeneratorName;
use egsde_sampler::method::{MethodConfig, MethodSettings};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Raised when the sampler changes images on purpose: older ones are then made again.
pub const SAMPLING_VERSION: u32 = 4;

/// What decides a job's images, by content, and nothing else: no title, label or path, no folder or
/// device, and nothing that only decides scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// [`SAMPLING_VERSION`] of the program that laid out the job.
    pub sampling_version: u32,
    /// Settled (see [`settle`]).
    pub settings: MethodConfig,
    /// Seed of all noise the job draws.
    pub seed: u64,
    /// Source images, from the first.
    pub images: usize,
    /// Side of an image in pixels.
    pub image_size: usize,
    /// Working precision of the networks.
    pub precision: Precision,
    /// File format in which the translations are stored and then scored.
    pub format: ImageFormat,
    /// Images that go through the networks together, as the experiment asks.
    pub batch_size: usize,
    /// SHA-256 of what decides the source images and their names.
    pub source: String,
    /// SHA-256 of what decides the diffusion network, where the method uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diffusion: Option<String>,
    /// SHA-256 of what decides the extractor, where the method uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extractor: Option<String>,
    /// SHA-256 of what decides the generator, where the method translates by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<String>,
    /// SHA-256 of what decides the reference images, where styles are drawn from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<String>,
    /// [`folder_sha256`] of an external method's images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
}

/// Most characters of a row's name in that of its job's folder: file systems take 255 in all, and
/// the hash tells jobs apart.
const LONGEST_SLUG: usize = 200;

/// A row's name with the characters that folder names may have, lower case, its end cut off where
/// it is long.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.replace('†', "-dagger").chars().take(LONGEST_SLUG) {
        let is_plain = c.is_ascii_alphanumeric() || "=.".contains(c);
        slug.push(if is_plain {
            c.to_ascii_lowercase()
        } else {
            '-'
        });
    }
    slug
}

impl Identity {
    /// The part of a job's folder name that this identity decides: the seed and the hash.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn suffix(&self) -> Result<String> {
        let hash = sha256_hex(&serde_json::to_vec(self)?);
        Ok(format!("-s{}-{}", self.seed, &hash[..12]))
    }

    /// Name of a new job's folder: readable, then seed and hash.
    ///
    /// # Errors
    /// As [`Identity::suffix`].
    pub fn job_id(&self, row: &str) -> Result<String> {
        Ok(format!("{}{}", slug(row), self.suffix()?))
    }
}

/// One row at one seed.
#[derive(Debug, Clone)]
pub struct Job {
    /// The row's name.
    pub row: String,
    /// What its images depend on; the hash over it ends the folder's name.
    pub identity: Identity,
    /// Where an external method's images lie.
    pub external_images: Option<PathBuf>,
    /// Name of its folder.
    pub id: String,
}

/// What all jobs of an experiment have in common.
pub(super) struct Shared<'a> {
    experiment: &'a Experiment,
    task: &'a Task,
    project: &'a Project,
    source: String,
    diffusion: String,
    extractor: String,
    references: String,
    facts: NetworkFacts,
}

impl<'a> Shared<'a> {
    /// Reads what is known about the task's files.
    pub fn new(experiment: &'a Experiment, task: &'a Task, project: &'a Project) -> Result<Self> {
        Ok(Self {
            experiment,
            task,
            project,
            source: sha256_hex(task.source.content(project)?.as_bytes()),
            diffusion: sha256_hex(task.diffusion.content(project)?.as_bytes()),
            extractor: sha256_hex(task.extractor.content(project)?.as_bytes()),
            references: sha256_hex(task.reference.content(project)?.as_bytes()),
            facts: NetworkFacts::new(task, &experiment.task, project),
        })
    }
}

impl Shared<'_> {
    /// SHA-256 of what decides the generator of settled settings; none where they have none.
    fn generator(&self, settings: &MethodConfig) -> Result<Option<String>> {
        let name = settings.generator();
        let Some(file) = name.and_then(|name| self.task.generators.get(&name)) else {
            return Ok(None);
        };
        Ok(Some(sha256_hex(file.content(self.project)?.as_bytes())))
    }
}

/// How a method's translations are stored: those of generators without loss, as their authors store
/// them, whatever the experiment asks for its other rows.
fn image_format(settings: &MethodConfig, experiment: &Experiment) -> ImageFormat {
    match settings.generator() {
        Some(_) => ImageFormat::Png,
        None => experiment.format,
    }
}

/// How the authors of a method resize images to the networks' size: those of StarGAN v2 by Pillow's
/// bilinear filter, all others by its bicubic one.
pub fn resize_filter(generator: Option<GeneratorName>) -> Filter {
    match generator {
        Some(GeneratorName::StarganV2) => Filter::Bilinear,
        Some(GeneratorName::Cut | GeneratorName::Cyclegan) | None => Filter::Bicubic,
    }
}

impl Job {
    pub(super) fn new(row: &Row, seed: u64, shared: &Shared) -> Result<Self> {
        let experiment = shared.experiment;
        let settings = settle(row, shared.task, &shared.facts, shared.project)?;
        let folder = settings
            .external_images()
            .map(|f| f.replace("{seed}", &seed.to_string()));
        if let Some(folder) = &folder {
            let what = format!("row {:?}: images", row.name);
            shared.project.check_path(folder, &what)?;
        }
        let external_images = folder.map(|folder| shared.project.resolve(folder));
        let identity = Identity {
            sampling_version: SAMPLING_VERSION,
            seed,
            images: experiment.pictures,
            image_size: shared.task.image_size,
            precision: experiment.precision,
            format: image_format(&settings, experiment),
            batch_size: experiment.batch_size,
            source: shared.source.clone(),
            diffusion: settings.uses_diffusion().then(|| shared.diffusion.clone()),
            extractor: settings.uses_extractor().then(|| shared.extractor.clone()),
            generator: shared.generator(&settings)?,
            references: settings
                .uses_references()
                .then(|| shared.references.clone()),
            external: external_images.as_deref().map(folder_sha256).transpose()?,
            settings: settings.without_paths(),
        };
        let id = identity.job_id(&row.name)?;
        Ok(Self {
            row: row.name.clone(),
            identity,
            external_images,
            id,
        })
    }

    /// Evaluations per image of the network that makes it: steps of the diffusion network, or one
    /// of a generator.
    pub fn evaluations(&self) -> usize {
        self.identity.settings.evaluations().of_translator()
    }

    /// How its source and reference images are resized to the networks' size.
    pub fn resize_filter(&self) -> Filter {
        resize_filter(self.identity.settings.generator())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_a_short_one_stays() {
        assert_eq!(slug("EGSDE† start=0.5"), "egsde-dagger-start=0.5");
        let long = slug(&"a b".repeat(1000));
        assert_eq!(long.len(), LONGEST_SLUG);
        assert_eq!(slug("猫から犬"), "----");
    }
}
