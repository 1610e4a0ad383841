//! What a training run is made of: one YAML file a network.

use anyhow::{Result, ensure};
use egsde_models::NetworkConfig;
use serde::{Deserialize, Serialize};

/// What is trained, on what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Noise prediction on the pictures of one class.
    Diffusion,
    /// Classification of noised pictures (the domain-specific extractor).
    NoisedClassifier,
    /// Classification of clean pictures (the feature network).
    Classifier,
}

/// A training recipe. `classes` are CIFAR-10 names; labels follow their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub name: String,
    pub task: TaskKind,
    pub classes: Vec<String>,
    pub network: NetworkConfig,
    pub steps: u64,
    pub batch_size: i64,
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    #[serde(default)]
    pub warmup: u64,
    /// Step from which the learning rate falls linearly to `final_factor` times itself at the last step.
    pub decay_from: u64,
    #[serde(default)]
    pub final_factor: f64,
    #[serde(default)]
    pub weight_decay: f64,
    /// Gradient norm above which gradients are scaled down.
    #[serde(default = "default_clip")]
    pub clip_norm: f64,
    #[serde(default)]
    pub label_smoothing: f64,
    /// Decay of the exponential moving average of the weights, which is what gets written.
    pub ema_decay: f64,
    /// Noised tasks draw time indices uniformly below this.
    #[serde(default = "default_t_max")]
    pub t_max: i64,
    #[serde(default)]
    pub augment: Augment,
    /// Weight file to start from; entries whose shape differs (the head) start fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    pub seed: i64,
    pub checkpoint_every: u64,
    /// The weight file written at the end.
    pub output: String,
}

/// Random changes to each training picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    #[serde(default)]
    pub flip: bool,
    /// Shift by up to this many pixels, borders mirrored.
    #[serde(default)]
    pub crop: i64,
    /// Side of a square set to the mean.
    #[serde(default)]
    pub cutout: i64,
}

fn default_clip() -> f64 {
    1.0
}

fn default_t_max() -> i64 {
    1000
}

impl Recipe {
    /// Numbers that cannot work, by name.
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
        ensure!((1..=1000).contains(&self.t_max), "t_max must be 1 to 1000");
        ensure!(!self.classes.is_empty(), "classes is empty");
        Ok(())
    }

    /// Learning rate at a step.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let warm = if step < self.warmup {
            (step + 1) as f64 / self.warmup as f64
        } else {
            1.0
        };
        let span = self.steps.saturating_sub(self.decay_from).max(1) as f64;
        let gone = step.saturating_sub(self.decay_from) as f64 / span;
        self.learning_rate * warm * (1.0 - gone.min(1.0) * (1.0 - self.final_factor))
    }
}
