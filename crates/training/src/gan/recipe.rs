//! Recipes of the GANs: one YAML file per method.

use super::adam::AdamSettings;
use super::cut::CutSettings;
use super::cyclegan::CycleGanSettings;
use super::schedule::{LinearDecay, StepTime};
use crate::recipe::TrainingTask;
use anyhow::{Result, ensure};
use egsde_models::NetworkConfig;
use egsde_models::networks::resnet_generator::SIDE_MULTIPLE;
use serde::{Deserialize, Serialize};

/// The losses, which are the method. In files, `kind` tells the methods apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum GanLosses {
    /// CUT and FastCUT.
    Cut(CutSettings),
    /// CycleGAN.
    CycleGan(CycleGanSettings),
}

/// Random changes to each training image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanAugment {
    /// Side to which images are enlarged (Pillow's bicubic) before a square of `crop_size` is cut
    /// out of them at random.
    pub load_size: i64,
    /// Side of the images that the networks see.
    pub crop_size: i64,
    /// Whether half of the images are mirrored left to right.
    #[serde(default)]
    pub flip: bool,
}

/// A recipe of a GAN that translates between two classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanRecipe {
    /// Name of the recipe and of its checkpoints' folder.
    pub name: String,
    /// `translation`.
    pub task: TrainingTask,
    /// CIFAR-10 class names: what is translated, and into what.
    pub classes: [String; 2],
    /// The network that translates, of kind `resnet_generator`.
    pub generator: NetworkConfig,
    /// The network that judges, of kind `patchgan`.
    pub discriminator: NetworkConfig,
    /// The method and its settings.
    pub losses: GanLosses,
    /// Epochs at the full learning rate. An epoch is the larger class once.
    pub constant_epochs: u64,
    /// Epochs in which it falls linearly.
    pub decay_epochs: u64,
    /// When the learning rate's schedule takes its step.
    #[serde(default)]
    pub step_time: StepTime,
    /// Images of each class per update.
    pub batch_size: i64,
    /// Adam's learning rate at the start.
    pub learning_rate: f64,
    /// Adam's other numbers.
    #[serde(default)]
    pub adam: AdamSettings,
    /// Random changes to each training image.
    pub augment: GanAugment,
    /// Seed of the initial weights, batches and draws.
    pub seed: i64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between grids of samples.
    pub samples_every: u64,
    /// The weight file of the generator, written at the end of the last epoch.
    pub output: String,
}

impl GanRecipe {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// Names the first such field and what it must be.
    pub fn check(&self) -> Result<()> {
        let [source, target] = &self.classes;
        ensure!(
            self.task == TrainingTask::Translation,
            "task must be translation"
        );
        ensure!(source != target, "classes {source} and {target}: name two");
        ensure!(self.epochs() > 0, "there must be at least 1 epoch");
        ensure!(self.batch_size > 0, "batch_size must be at least 1");
        ensure!(self.learning_rate > 0.0, "learning_rate must be positive");
        for (name, steps) in [
            ("checkpoint_every", self.checkpoint_every),
            ("samples_every", self.samples_every),
        ] {
            ensure!(steps > 0, "{name} must be at least 1");
        }
        let GanAugment {
            load_size,
            crop_size,
            ..
        } = self.augment;
        ensure!(
            crop_size >= 8 && crop_size % SIDE_MULTIPLE == 0,
            "crop_size {crop_size}: must be a multiple of {SIDE_MULTIPLE} from 8 on"
        );
        ensure!(
            (crop_size..=4 * crop_size).contains(&load_size),
            "load_size {load_size}: must be {crop_size} to {}",
            4 * crop_size
        );
        match &self.losses {
            GanLosses::Cut(settings) => settings.check(),
            GanLosses::CycleGan(_) => Ok(()),
        }
    }

    /// Epochs in all.
    pub fn epochs(&self) -> u64 {
        self.constant_epochs + self.decay_epochs
    }

    /// The learning rate's schedule.
    pub fn schedule(&self) -> LinearDecay {
        LinearDecay {
            learning_rate: self.learning_rate,
            constant_epochs: self.constant_epochs,
            decay_epochs: self.decay_epochs,
            step_time: self.step_time,
        }
    }
}
