//! What the optimizers keep of each weight, and how checkpoints hold it.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// One weight and the running moments of its gradient.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The name by which checkpoints know it.
    pub name: String,
    /// Shares memory with the network's own.
    pub weight: Tensor,
    /// Running mean of the gradient.
    pub mean: Tensor,
    /// Running mean of the squared gradient.
    pub square: Tensor,
}

/// Copies the entry `key` of a checkpoint into `target`.
///
/// # Errors
/// The entry is missing or has another shape; the error names it.
pub(crate) fn copy_entry(
    target: &mut Tensor,
    state: &BTreeMap<String, Tensor>,
    key: &str,
) -> Result<()> {
    let source = state
        .get(key)
        .with_context(|| format!("the checkpoint has no {key}"))?;
    tch::no_grad(|| target.f_copy_(source))
        .with_context(|| format!("the checkpoint's {key} has another shape"))?;
    Ok(())
}

impl Slot {
    /// A weight whose moments are 0.
    pub fn new(name: String, weight: Tensor) -> Self {
        Self {
            mean: weight.zeros_like(),
            square: weight.zeros_like(),
            name,
            weight,
        }
    }

    /// The key of one of its tensors in a checkpoint.
    fn key(&self, part: &str) -> String {
        format!("{part}/{}", self.name)
    }

    /// Adds weight and moments to what a checkpoint holds.
    pub fn save(&self, state: &mut BTreeMap<String, Tensor>) {
        state.insert(self.key("weight"), self.weight.detach());
        state.insert(self.key("mean"), self.mean.shallow_clone());
        state.insert(self.key("square"), self.square.shallow_clone());
    }

    /// Restores what [`Slot::save`] added.
    ///
    /// # Errors
    /// An entry is missing or has another shape; the error names it.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let [weight, mean, square] = ["weight", "mean", "square"].map(|part| self.key(part));
        copy_entry(&mut self.weight, state, &weight)?;
        copy_entry(&mut self.mean, state, &mean)?;
        copy_entry(&mut self.square, state, &square)
    }
}
