//! The learning rate: constant, then falling linearly.

use serde::{Deserialize, Serialize};

/// When the schedule takes its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepTime {
    /// Behind an epoch (CUT): the last epoch still has a rate.
    #[default]
    AfterEpoch,
    /// In front of an epoch (CycleGAN's code since July 2020): the decay begins an epoch earlier,
    /// and the last epoch has a rate of 0.
    BeforeEpoch,
}

/// The policy `linear` of both repositories.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearDecay {
    /// The rate at the start.
    pub learning_rate: f64,
    /// Epochs at that rate.
    pub constant_epochs: u64,
    /// Epochs in which it falls.
    pub decay_epochs: u64,
    /// When the schedule takes its step.
    pub step_time: StepTime,
}

impl LinearDecay {
    /// The learning rate of an epoch, which counts from 0.
    pub fn at_epoch(&self, epoch: u64) -> f64 {
        let steps = match self.step_time {
            StepTime::AfterEpoch => epoch,
            StepTime::BeforeEpoch => epoch + 1,
        };
        // The reference counts epochs from 1 and its schedule's steps from 0.
        let fallen = (steps + 1).saturating_sub(self.constant_epochs) as f64;
        self.learning_rate * (1.0 - fallen / (self.decay_epochs + 1) as f64)
    }
}
