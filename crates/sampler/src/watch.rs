//! Notices the step at which a sample stopped being finite, without waiting for the device.

use tch::{Device, Kind, Tensor};

/// First bad step of each picture of a batch; the tensor stays on the device until it is asked for.
#[derive(Debug)]
pub struct Watch {
    /// `[n]`: index of the bad step in the order they were taken, or -1.
    first_bad: Tensor,
    seen: i64,
    steps: Vec<(usize, usize)>,
}

/// Where a sample went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// Index in the batch.
    pub picture: usize,
    pub repeat: usize,
    /// Step of the (respaced) schedule, counting down to 0.
    pub step: usize,
}

impl Watch {
    /// Of a batch of `n` pictures.
    pub fn new(n: usize, device: Device) -> Self {
        Self {
            first_bad: Tensor::full([n as i64], -1, (Kind::Int64, device)),
            seen: 0,
            steps: Vec::new(),
        }
    }

    /// Looks at the samples `[n, ...]` after a step.
    pub fn see(&mut self, repeat: usize, step: usize, y: &Tensor) {
        let bad = y.isfinite().flatten(1, -1).all_dim(1, false).logical_not();
        let new = bad.logical_and(&self.first_bad.lt(0));
        self.first_bad = self.first_bad.masked_fill(&new, self.seen);
        self.steps.push((repeat, step));
        self.seen += 1;
    }

    /// Every picture that was not finite at some step, with the first such step.
    pub fn broken(&self) -> Vec<Broken> {
        let first: Vec<i64> =
            Vec::try_from(self.first_bad.to_device(Device::Cpu)).unwrap_or_default();
        let at = |(picture, at): (usize, i64)| {
            let (repeat, step) = *self.steps.get(usize::try_from(at).ok()?)?;
            Some(Broken {
                picture,
                repeat,
                step,
            })
        };
        first.into_iter().enumerate().filter_map(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_step_of_each_picture_is_kept() {
        let mut watch = Watch::new(3, Device::Cpu);
        let y = Tensor::zeros([3, 3, 2, 2], (Kind::Float, Device::Cpu));
        watch.see(0, 2, &y);
        let _ = y.get(1).get(0).fill_(f64::INFINITY);
        watch.see(0, 1, &y);
        let _ = y.get(2).get(1).fill_(f64::NAN);
        watch.see(0, 0, &y);
        let want = [
            Broken {
                picture: 1,
                repeat: 0,
                step: 1,
            },
            Broken {
                picture: 2,
                repeat: 0,
                step: 0,
            },
        ];
        assert_eq!(watch.broken(), want);
    }
}
