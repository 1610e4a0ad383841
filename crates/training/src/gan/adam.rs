//! Adam (Kingma & Ba 2015) as PyTorch has it, over the variables of one or more networks, with a
//! state that can be saved.

use crate::moments::Slot;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Tensor;
use tch::nn::VarStore;

/// What all steps share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamSettings {
    /// Decay of the gradient's running mean.
    pub beta1: f64,
    /// Decay of the squared gradient's running mean.
    pub beta2: f64,
    /// Added to the root of the latter.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Times the weight, added to its gradient.
    #[serde(default)]
    pub weight_decay: f64,
}

fn default_eps() -> f64 {
    1e-8
}

impl Default for AdamSettings {
    /// Those of CUT and CycleGAN.
    fn default() -> Self {
        Self {
            beta1: 0.5,
            beta2: 0.999,
            eps: default_eps(),
            weight_decay: 0.0,
        }
    }
}

/// What all variables share in one update.
struct Update {
    settings: AdamSettings,
    /// The learning rate over the bias correction of the mean.
    rate: f64,
    /// Root of the bias correction of the squares.
    square_correction: f64,
}

impl Update {
    /// One step of a variable.
    fn apply(&self, slot: &mut Slot, gradient: &Tensor) {
        let AdamSettings {
            beta1,
            beta2,
            eps,
            weight_decay,
        } = self.settings;
        let decayed;
        let gradient = if weight_decay == 0.0 {
            gradient
        } else {
            decayed = gradient + &slot.weight * weight_decay;
            &decayed
        };
        let _ = slot.mean.lerp_(gradient, 1.0 - beta1);
        let _ = slot.square.g_mul_scalar_(beta2);
        let _ = slot.square.g_add_(&(gradient.square() * (1.0 - beta2)));
        let root = slot.square.sqrt() / self.square_correction + eps;
        let _ = slot.weight.g_sub_(&(&slot.mean / root * self.rate));
    }
}

/// The optimizer.
#[derive(Debug)]
pub struct Adam {
    slots: Vec<Slot>,
    settings: AdamSettings,
}

impl Adam {
    /// An optimizer of all trainable variables of networks with these names, which begin the names
    /// of the variables (`G.model.1.weight`).
    pub fn new(networks: &[(&str, &VarStore)], settings: AdamSettings) -> Self {
        let mut variables = BTreeMap::new();
        for (network, vs) in networks {
            for (key, variable) in vs.variables() {
                if variable.requires_grad() {
                    variables.insert(format!("{network}.{key}"), variable);
                }
            }
        }
        Self::from_variables(variables.into_iter().collect(), settings)
    }

    /// An optimizer of named variables.
    pub fn from_variables(variables: Vec<(String, Tensor)>, settings: AdamSettings) -> Self {
        let slots = variables
            .into_iter()
            .map(|(name, weight)| Slot::new(name, weight))
            .collect();
        Self { slots, settings }
    }

    /// One update from a gradient per variable, in their order; `step` counts from 0. A variable
    /// whose gradient is not defined stays.
    pub fn update(&mut self, gradients: &[Tensor], step: u64, learning_rate: f64) {
        let count = (step + 1) as f64;
        let AdamSettings { beta1, beta2, .. } = self.settings;
        let update = Update {
            settings: self.settings,
            rate: learning_rate / (1.0 - beta1.powf(count)),
            square_correction: (1.0 - beta2.powf(count)).sqrt(),
        };
        tch::no_grad(|| {
            for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
                if gradient.defined() {
                    update.apply(slot, gradient);
                }
            }
        });
    }

    /// Names and values of the variables, which share memory with the networks' own.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.slots
            .iter()
            .map(|slot| (slot.name.as_str(), &slot.weight))
    }

    /// Adds weights and moments to what a checkpoint holds.
    pub fn save(&self, state: &mut BTreeMap<String, Tensor>) {
        for slot in &self.slots {
            slot.save(state);
        }
    }

    /// Restores what [`Adam::save`] added.
    ///
    /// # Errors
    /// An entry is missing or has another shape; the error names it.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for slot in &mut self.slots {
            slot.restore(state)?;
        }
        Ok(())
    }
}

/// The gradients of a loss, by the name of the variable.
pub type NamedGradients = Vec<(String, Tensor)>;

/// One backward pass of `loss`, and an update of all `optimizers` with it. Variables of other
/// networks get no gradient. Returns the gradients.
pub(super) fn descend(
    loss: &Tensor,
    optimizers: &mut [&mut Adam],
    step: u64,
    learning_rate: f64,
) -> NamedGradients {
    let mut names = Vec::new();
    let mut variables = Vec::new();
    for (name, variable) in optimizers.iter().flat_map(|o| o.variables()) {
        names.push(name.to_string());
        variables.push(variable.shallow_clone());
    }
    let gradients = Tensor::run_backward(&[loss], &variables, false, false);
    let mut rest = gradients.as_slice();
    for optimizer in optimizers {
        let (own, others) = rest.split_at(optimizer.slots.len());
        optimizer.update(own, step, learning_rate);
        rest = others;
    }
    names.into_iter().zip(gradients).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn optimizer(value: f32) -> Adam {
        let weight = Tensor::from_slice(&[value]).set_requires_grad(true);
        Adam::from_variables(vec![("w".into(), weight)], AdamSettings::default())
    }

    fn value(optimizer: &Adam) -> f64 {
        optimizer.slots[0].weight.double_value(&[0])
    }

    #[test]
    fn the_first_step_has_the_length_of_the_learning_rate() {
        let mut adam = optimizer(1.0);
        let loss = adam.slots[0].weight.square().sum(tch::Kind::Float);
        let gradients = descend(&loss, &mut [&mut adam], 0, 0.01);
        assert_eq!(gradients[0].0, "w");
        assert_eq!(gradients[0].1.double_value(&[0]), 2.0);
        assert!((value(&adam) - 0.99).abs() < 1e-6);
    }

    #[test]
    fn a_restored_state_goes_on_as_the_first_would_have() {
        let gradient = Tensor::from_slice(&[0.5f32]);
        let mut first = optimizer(1.0);
        first.update(&[gradient.shallow_clone()], 0, 0.01);
        let mut state = BTreeMap::new();
        first.save(&mut state);
        let state = state.into_iter().map(|(k, t)| (k, t.copy())).collect();
        let mut second = optimizer(0.0);
        second.restore(&state).unwrap();
        for adam in [&mut first, &mut second] {
            adam.update(&[gradient.shallow_clone()], 1, 0.01);
        }
        assert_eq!(value(&first), value(&second));
        let error = second.restore(&BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("has no weight/w"), "{error}");
    }
}
