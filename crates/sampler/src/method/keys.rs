//! Defaults and ranges of the keys that several methods have.

use crate::schedule::NUM_TRAIN_TIMESTEPS;
use crate::settings::TaskFacts;
use crate::solver::Solver;
use anyhow::{Result as AnyResult, bail};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub(super) fn default_steps() -> usize {
    NUM_TRAIN_TIMESTEPS
}

pub(super) fn default_start() -> f64 {
    0.5
}

pub(super) fn default_repeats() -> usize {
    1
}

pub(super) fn default_solver() -> Solver {
    Solver::Ancestral
}

/// Reads a number of respaced steps.
pub(super) fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match i64::deserialize(deserializer)? {
        n if (1..=NUM_TRAIN_TIMESTEPS as i64).contains(&n) => Ok(n as usize),
        n => Err(D::Error::custom(format!(
            "steps is {n}: must be 1 to {NUM_TRAIN_TIMESTEPS}"
        ))),
    }
}

/// Reads M / T.
pub(super) fn start<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match f64::deserialize(deserializer)? {
        m if m > 0.0 && m <= 1.0 => Ok(m),
        m => {
            let text = format!("start (M / T) is {m}: must be above 0 and at most 1");
            Err(D::Error::custom(text))
        }
    }
}

/// Reads K.
pub(super) fn repeats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match i64::deserialize(deserializer)? {
        n if n >= 1 => Ok(n as usize),
        n => Err(D::Error::custom(format!(
            "repeats (K) is {n}: must be at least 1"
        ))),
    }
}

/// Reads DDIM's eta.
pub(super) fn eta<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match f64::deserialize(deserializer)? {
        eta if (0.0..=1.0).contains(&eta) => Ok(Some(eta)),
        eta => Err(D::Error::custom(format!("eta is {eta}: must be 0 to 1"))),
    }
}

/// Reads the class of the target domain.
pub(super) fn class_label<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    match i64::deserialize(deserializer)? {
        label if label >= 0 => Ok(Some(label)),
        label => Err(D::Error::custom(format!(
            "class_label is {label}: classes count from 0"
        ))),
    }
}

/// Checks a row's class against the classes that its network knows.
pub(super) fn check_class_label(label: Option<i64>, num_classes: Option<i64>) -> AnyResult<()> {
    match (label, num_classes) {
        (None, None) => Ok(()),
        (Some(label), Some(classes)) if label < classes => Ok(()),
        (Some(label), Some(classes)) => bail!(
            "class_label is {label}: the network knows the classes 0 to {}",
            classes - 1
        ),
        (Some(label), None) => bail!(
            "class_label is {label}, but the network was trained without classes: leave it out"
        ),
        (None, Some(classes)) => bail!(
            "the network was trained with classes: give the row class_label, 0 to {}",
            classes - 1
        ),
    }
}

/// As [`check_class_label`], where the network is known already.
pub(super) fn check_known_classes(label: Option<i64>, task: &TaskFacts) -> AnyResult<()> {
    match task.diffusion {
        Some(diffusion) => check_class_label(label, diffusion.num_classes),
        None => Ok(()),
    }
}

/// Reads lambda_s or lambda_i.
pub(super) fn lambda<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match f64::deserialize(deserializer)? {
        w if w.is_finite() && w >= 0.0 => Ok(Some(w)),
        w => {
            let text = format!("a weight of {w}: lambda_s and lambda_i must be 0 or more");
            Err(D::Error::custom(text))
        }
    }
}
