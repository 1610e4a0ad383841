//! Finds the step at which a sample stopped being finite, without waiting for the device.

use tch::{Device, Kind, Tensor};

/// A step of a translation.
#[derive(Debug, Clone, Copy)]
struct StepTaken {
    repeat: usize,
    step: usize,
}

/// First step of each image of a batch after which its sample was not finite. The tensor stays on
/// the device until [`FiniteCheck::non_finite`] reads it.
#[derive(Debug)]
pub struct FiniteCheck {
    /// `[n]`: index into `steps` of the first bad step, or -1.
    first_bad: Tensor,
    /// The checked steps in the order they were taken.
    steps: Vec<StepTaken>,
}

/// Where a sample stopped being finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonFinite {
    /// Index of the image in the batch.
    pub image: usize,
    /// Repeat (of K), counting from 0.
    pub repeat: usize,
    /// Step of the (respaced) schedule, counting down to 0.
    pub step: usize,
}

impl FiniteCheck {
    /// A check of a batch of `batch` images on `device`.
    pub fn new(batch: usize, device: Device) -> Self {
        let first_bad = Tensor::full([batch as i64], -1, (Kind::Int64, device));
        Self {
            first_bad,
            steps: Vec::new(),
        }
    }

    /// Checks the samples `[n, ...]` that a step left.
    pub fn check(&mut self, repeat: usize, step: usize, y: &Tensor) {
        let bad = y.isfinite().flatten(1, -1).all_dim(1, false).logical_not();
        let newly_bad = bad.logical_and(&self.first_bad.lt(0));
        self.first_bad = self
            .first_bad
            .masked_fill(&newly_bad, self.steps.len() as i64);
        self.steps.push(StepTaken { repeat, step });
    }

    /// Every image that was not finite after some step, with the first such step.
    pub fn non_finite(&self) -> Vec<NonFinite> {
        let first_bad: Vec<i64> =
            Vec::try_from(self.first_bad.to_device(Device::Cpu)).unwrap_or_default();
        let mut found = Vec::new();
        for (image, index) in first_bad.into_iter().enumerate() {
            let taken = usize::try_from(index)
                .ok()
                .and_then(|index| self.steps.get(index));
            if let Some(StepTaken { repeat, step }) = taken {
                found.push(NonFinite {
                    image,
                    repeat: *repeat,
                    step: *step,
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_step_of_each_image_is_kept() {
        let mut check = FiniteCheck::new(3, Device::Cpu);
        let y = Tensor::zeros([3, 3, 2, 2], (Kind::Float, Device::Cpu));
        check.check(0, 2, &y);
        let _ = y.get(1).get(0).fill_(f64::INFINITY);
        check.check(0, 1, &y);
        let _ = y.get(2).get(1).fill_(f64::NAN);
        check.check(0, 0, &y);
        let want = [
            NonFinite {
                image: 1,
                repeat: 0,
                step: 1,
            },
            NonFinite {
                image: 2,
                repeat: 0,
                step: 0,
            },
        ];
        assert_eq!(check.non_finite(), want);
    }
}
