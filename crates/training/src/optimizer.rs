//! AdamW with a state that can be saved (tch's optimizers do not give theirs out), and the moving
//! average of the weights.

use crate::moments::{Slot, copy_entry};
use anyhow::Result;
use std::collections::BTreeMap;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// AdamW (Loshchilov & Hutter 2019) over a `VarStore`, with the exponential moving average of the
/// weights.
pub(crate) struct AdamW {
    slots: Vec<Slot>,
    ema: BTreeMap<String, Tensor>,
    weight_decay: f64,
    clip_norm: f64,
    ema_decay: f64,
}

/// What all weights share in one update.
struct Update {
    learning_rate: f64,
    weight_decay: f64,
    /// Bias corrections of the two moments.
    correction1: f64,
    correction2: f64,
}

impl Update {
    /// One step of a weight from its clipped gradient; the stored gradient is set to 0.
    fn apply(&self, slot: &mut Slot, gradient: &Tensor) {
        let _ = slot.mean.lerp_(gradient, 1.0 - BETA1);
        let _ = slot.square.lerp_(&gradient.square(), 1.0 - BETA2);
        // Only matrices and kernels decay: norms and biases are not meant to shrink.
        if slot.weight.dim() > 1 {
            let decay = self.learning_rate * self.weight_decay;
            let _ = slot.weight.g_mul_scalar_(1.0 - decay);
        }
        let denominator = (&slot.square / self.correction2).sqrt_() + EPS;
        let rate = self.learning_rate / self.correction1;
        let _ = slot.weight.g_sub_(&(&slot.mean / denominator * rate));
        let _ = slot.weight.grad().zero_();
    }
}

/// Euclidean norm of all gradients together.
fn gradient_norm(gradients: &[Tensor]) -> f64 {
    let squares: Vec<Tensor> = gradients
        .iter()
        .map(|g| g.square().sum(Kind::Float))
        .collect();
    Tensor::stack(&squares, 0)
        .sum(Kind::Float)
        .sqrt()
        .double_value(&[])
}

impl AdamW {
    /// An optimizer of all variables of `vs`. Gradients are scaled down to a norm of `clip_norm`.
    pub(crate) fn new(vs: &VarStore, weight_decay: f64, clip_norm: f64, ema_decay: f64) -> Self {
        let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
        let ema = variables
            .iter()
            .map(|(name, w)| (name.clone(), w.detach().copy()))
            .collect();
        let slots = variables
            .into_iter()
            .map(|(name, weight)| Slot::new(name, weight))
            .collect();
        Self {
            slots,
            ema,
            weight_decay,
            clip_norm,
            ema_decay,
        }
    }

    /// One update from the gradients in place; `step` counts from 0. Returns the gradient norm
    /// before clipping.
    pub(crate) fn update(&mut self, step: u64, learning_rate: f64) -> f64 {
        tch::no_grad(|| {
            let trainable = self.slots.iter().filter(|slot| slot.weight.requires_grad());
            let gradients: Vec<Tensor> = trainable.map(|slot| slot.weight.grad()).collect();
            let norm = gradient_norm(&gradients);
            let scale = (self.clip_norm / (norm + 1e-6)).min(1.0);
            let update = Update {
                learning_rate,
                weight_decay: self.weight_decay,
                correction1: 1.0 - BETA1.powi(step as i32 + 1),
                correction2: 1.0 - BETA2.powi(step as i32 + 1),
            };
            let slots = self.slots.iter_mut();
            let trainable = slots.filter(|slot| slot.weight.requires_grad());
            for (slot, gradient) in trainable.zip(gradients) {
                update.apply(slot, &(gradient * scale));
            }
            self.update_averages(step);
            norm
        })
    }

    fn update_averages(&mut self, step: u64) {
        // Early averages weigh few steps, so that short runs are not averaged with their random
        // start.
        let decay = self
            .ema_decay
            .min((1.0 + step as f64) / (10.0 + step as f64));
        for slot in &self.slots {
            let average = self
                .ema
                .get_mut(&slot.name)
                .expect("every weight has an average");
            let _ = average.lerp_(&slot.weight, 1.0 - decay);
        }
    }

    /// The averaged weights by state-dict key.
    pub(crate) fn averaged(&self) -> &BTreeMap<String, Tensor> {
        &self.ema
    }

    /// Everything that resuming needs: weights, both moments, averages.
    pub(crate) fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            slot.save(&mut state);
        }
        for (name, average) in &self.ema {
            state.insert(format!("ema/{name}"), average.shallow_clone());
        }
        state
    }

    /// Restores what [`AdamW::state`] returned.
    ///
    /// # Errors
    /// An entry is missing or has another shape; the error names it.
    pub(crate) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for slot in &mut self.slots {
            slot.restore(state)?;
        }
        for (name, average) in &mut self.ema {
            copy_entry(average, state, &format!("ema/{name}"))?;
        }
        Ok(())
    }
}
