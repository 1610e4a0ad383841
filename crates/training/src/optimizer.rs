//! AdamW whose state can be saved (tch's optimizers do not hand theirs out), and the moving average of the weights.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

struct Slot {
    name: String,
    weight: Tensor,
    mean: Tensor,
    square: Tensor,
    trainable: bool,
}

/// AdamW (Loshchilov & Hutter 2019) over a `VarStore`, with the exponential moving average beside it.
pub(crate) struct AdamW {
    slots: Vec<Slot>,
    ema: BTreeMap<String, Tensor>,
    weight_decay: f64,
    clip_norm: f64,
    ema_decay: f64,
}

impl AdamW {
    pub(crate) fn new(vs: &VarStore, weight_decay: f64, clip_norm: f64, ema_decay: f64) -> Self {
        let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
        let ema = variables
            .iter()
            .map(|(n, v)| (n.clone(), v.detach().copy()))
            .collect();
        let slot = |(name, weight): (String, Tensor)| Slot {
            trainable: weight.requires_grad(),
            mean: weight.zeros_like(),
            square: weight.zeros_like(),
            name,
            weight,
        };
        Self {
            slots: variables.into_iter().map(slot).collect(),
            ema,
            weight_decay,
            clip_norm,
            ema_decay,
        }
    }

    /// One update from the gradients in place; `step` counts from 0. Returns the gradient norm before clipping.
    pub(crate) fn update(&mut self, step: u64, learning_rate: f64) -> f64 {
        tch::no_grad(|| {
            let grads: Vec<Tensor> = self
                .slots
                .iter()
                .filter(|s| s.trainable)
                .map(|s| s.weight.grad())
                .collect();
            let squares: Vec<Tensor> = grads.iter().map(|g| g.square().sum(Kind::Float)).collect();
            let norm = Tensor::stack(&squares, 0)
                .sum(Kind::Float)
                .sqrt()
                .double_value(&[]);
            let scale = (self.clip_norm / (norm + 1e-6)).min(1.0);
            let (c1, c2) = (
                1.0 - BETA1.powi(step as i32 + 1),
                1.0 - BETA2.powi(step as i32 + 1),
            );
            for (slot, grad) in self.slots.iter_mut().filter(|s| s.trainable).zip(grads) {
                let grad = grad * scale;
                let _ = slot.mean.lerp_(&grad, 1.0 - BETA1);
                let _ = slot.square.lerp_(&grad.square(), 1.0 - BETA2);
                // Decay only matrices and kernels: norms and biases are not meant to shrink.
                if slot.weight.dim() > 1 {
                    let _ = slot
                        .weight
                        .g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
                }
                let denominator = (&slot.square / c2).sqrt_() + EPS;
                let _ = slot
                    .weight
                    .g_sub_(&(&slot.mean / denominator * (learning_rate / c1)));
                let _ = slot.weight.grad().zero_();
            }
            // Early averages lean on few steps, so that short runs are not averaged with their random start.
            let decay = self
                .ema_decay
                .min((1.0 + step as f64) / (10.0 + step as f64));
            for slot in &self.slots {
                let average = self.ema.get_mut(&slot.name).expect("one average a weight");
                let _ = average.lerp_(&slot.weight, 1.0 - decay);
            }
            norm
        })
    }

    /// The averaged weights, by state-dict key.
    pub(crate) fn averaged(&self) -> &BTreeMap<String, Tensor> {
        &self.ema
    }

    /// Everything needed to go on: weights, both moments, averages.
    pub(crate) fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            state.insert(format!("weight/{}", slot.name), slot.weight.detach());
            state.insert(format!("mean/{}", slot.name), slot.mean.shallow_clone());
            state.insert(format!("square/{}", slot.name), slot.square.shallow_clone());
        }
        for (name, average) in &self.ema {
            state.insert(format!("ema/{name}"), average.shallow_clone());
        }
        state
    }

    /// Takes back what [`AdamW::state`] gave.
    pub(crate) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let copy = |target: &mut Tensor, key: String| -> Result<()> {
            let source = state
                .get(&key)
                .with_context(|| format!("the checkpoint has no {key}"))?;
            tch::no_grad(|| target.f_copy_(source))
                .with_context(|| format!("the checkpoint's {key} has another shape"))?;
            Ok(())
        };
        for slot in &mut self.slots {
            copy(&mut slot.weight, format!("weight/{}", slot.name))?;
            copy(&mut slot.mean, format!("mean/{}", slot.name))?;
            copy(&mut slot.square, format!("square/{}", slot.name))?;
        }
        for (name, average) in &mut self.ema {
            copy(average, format!("ema/{name}"))?;
        }
        Ok(())
    }
}
