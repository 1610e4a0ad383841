//! Training recipes: one YAML file per network.

use anyhow::{Result, ensure};
use egsde_models::NetworkConfig;
use egsde_sampler::schedule::NUM_TRAIN_TIMESTEPS;
use serde::{Deserialize, Serialize};

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
    /// CIFAR-10 class names; labels follow their order.
    pub classes: Vec<String>,
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
    /// Weight file to start from; entries whose shape differs (the head) start fresh.
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
