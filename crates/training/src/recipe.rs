//! Training recipes: one YAML file per network.

use anyhow::{Result, ensure};
use egsde_models::NetworkConfig;
use egsde_sampler::schedule::NUM_TRAIN_TIMESTEPS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Metadata key under which a trained weight file carries its recipe as JSON.
pub const RECIPE_KEY: &str = "egsde.recipe";

/// What a recipe trains, whichever kind of recipe it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingTask {
    /// See [`ObjectiveKind::Diffusion`].
    Diffusion,
    /// See [`ObjectiveKind::NoisedClassifier`].
    NoisedClassifier,
    /// See [`ObjectiveKind::Classifier`].
    Classifier,
    /// A GAN that translates between two classes; its recipe is a
    /// [`GanRecipe`](crate::gan::GanRecipe).
    Translation,
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveKind {
    /// Noise prediction on the images of one class.
    Diffusion,
    /// Classification of noised images (the domain-specific extractor).
    NoisedClassifier,
    /// Classification of clean images (the feature network).
    Classifier,
}

/// A training recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the recipe and of its checkpoints' folder.
    pub name: String,
    /// What is trained.
    pub task: ObjectiveKind,
    /// Class names; labels follow their order. They are CIFAR-10's where no folders are given.
    pub classes: Vec<String>,
    /// A folder of images per class, of any sizes; CIFAR-10 where there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<String, PathBuf>,
    /// Fraction of each folder that is held out for evaluation, in (0, 1).
    #[serde(
        default = "default_held_out",
        skip_serializing_if = "is_default_held_out"
    )]
    pub held_out: f64,
    /// The network.
    pub network: NetworkConfig,
    /// Updates in all.
    pub steps: u64,
    /// Images per update.
    pub batch_size: i64,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    #[serde(default)]
    pub warmup: u64,
    /// Step from which the learning rate falls linearly to `final_factor` times itself at the last
    /// step.
    pub decay_from: u64,
    /// See `decay_from`.
    #[serde(default)]
    pub final_factor: f64,
    /// AdamW's weight decay, of matrices and kernels only.
    #[serde(default)]
    pub weight_decay: f64,
    /// Gradient norm above which gradients are scaled down.
    #[serde(default = "default_clip_norm")]
    pub clip_norm: f64,
    /// Label smoothing of the classifiers' cross entropy.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Decay of the exponential moving average of the weights, which is what the weight file holds.
    pub ema_decay: f64,
    /// Noised objectives draw time indices uniformly below this.
    #[serde(default = "default_t_max")]
    pub t_max: i64,
    /// Random changes to each training image.
    #[serde(default)]
    pub augment: Augment,
    /// Weight file of any format to start from; entries whose shape differs (the head) start fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    /// Seed of the initial weights, batches and noise.
    pub seed: i64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// The weight file written at the end.
    pub output: String,
}

/// Random changes to each training image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Whether half of the images are mirrored left to right.
    #[serde(default)]
    pub flip: bool,
    /// Shift by up to this many pixels, borders mirrored.
    #[serde(default)]
    pub crop: i64,
    /// Side of a square set to the mean.
    #[serde(default)]
    pub cutout: i64,
}

fn default_held_out() -> f64 {
    0.1
}

fn is_default_held_out(held_out: &f64) -> bool {
    *held_out == default_held_out()
}

fn default_clip_norm() -> f64 {
    1.0
}

fn default_t_max() -> i64 {
    NUM_TRAIN_TIMESTEPS as i64
}

impl Recipe {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// Names the first such field and what it must be.
    pub fn check(&self) -> Result<()> {
        ensure!(self.steps > 0, "steps must be at least 1");
        ensure!(self.batch_size > 0, "batch_size must be at least 1");
        ensure!(self.learning_rate > 0.0, "learning_rate must be positive");
        ensure!(
            self.checkpoint_every > 0,
            "checkpoint_every must be at least 1"
        );
        ensure!(
            (0.0..1.0).contains(&self.ema_decay),
            "ema_decay must be in [0, 1)"
        );
        ensure!(
            (1..=NUM_TRAIN_TIMESTEPS as i64).contains(&self.t_max),
            "t_max must be 1 to {NUM_TRAIN_TIMESTEPS}"
        );
        ensure!(!self.classes.is_empty(), "classes is empty");
        ensure!(
            self.held_out > 0.0 && self.held_out < 1.0,
            "held_out is {}: must be above 0 and below 1",
            self.held_out
        );
        self.check_folders()
    }

    /// Each class must have a folder, where there are folders.
    fn check_folders(&self) -> Result<()> {
        if self.folders.is_empty() {
            return Ok(());
        }
        let known: Vec<&str> = self.folders.keys().map(String::as_str).collect();
        let known = known.join(", ");
        for class in &self.classes {
            ensure!(
                self.folders.contains_key(class),
                "no folder of class {class:?}; folders has {known}"
            );
        }
        for class in self.folders.keys() {
            ensure!(
                self.classes.contains(class),
                "the folder of {class:?} belongs to no class: add it to classes, or remove it"
            );
        }
        Ok(())
    }

    /// Learning rate at a step, which counts from 0.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let warmup_factor = if step < self.warmup {
            (step + 1) as f64 / self.warmup as f64
        } else {
            1.0
        };
        let decay_steps = self.steps.saturating_sub(self.decay_from).max(1) as f64;
        let decayed = step.saturating_sub(self.decay_from) as f64 / decay_steps;
        let decay_factor = 1.0 - decayed.min(1.0) * (1.0 - self.final_factor);
        self.learning_rate * warmup_factor * decay_factor
    }
}
