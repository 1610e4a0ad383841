//! Noise that is drawn while the step before still computes.

use super::{DrawKey, ImageNoise, Noise, Purpose};
use egsde_models::cuda::StagingBuffer;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use tch::Tensor;

/// Draws that wait to be asked for, beside the one being made.
const WAITING: usize = 2;

/// A draw that was made before it was asked for.
struct Drawn {
    purpose: Purpose,
    buffer: StagingBuffer,
}

/// [`ImageNoise`] whose next draws come from another thread.
struct NoiseAhead<'a> {
    noise: &'a ImageNoise,
    /// In the order of `order`.
    drawn: RefCell<Receiver<Drawn>>,
    order: &'a [Purpose],
    /// How many of `order` were taken out of `drawn`.
    taken: Cell<usize>,
}

impl NoiseAhead<'_> {
    /// The draw for a purpose, if the other thread makes it; those before it are left out.
    fn take(&self, purpose: Purpose) -> Option<StagingBuffer> {
        let rest = &self.order[self.taken.get()..];
        let place = rest.iter().position(|next| *next == purpose)?;
        for _ in 0..=place {
            // The other thread is gone where it had no memory.
            let drawn = self.drawn.borrow().recv().ok()?;
            self.taken.set(self.taken.get() + 1);
            if drawn.purpose == purpose {
                return Some(drawn.buffer);
            }
        }
        None
    }
}

impl Noise for NoiseAhead<'_> {
    fn draw(&self, purpose: Purpose) -> Tensor {
        match self.take(purpose) {
            Some(buffer) => self.noise.tensor(buffer),
            None => self.noise.draw(purpose),
        }
    }

    fn key(&self, purpose: Purpose) -> Option<DrawKey> {
        self.noise.key(purpose)
    }
}

/// Does `work` with noise whose draws are made ahead in another thread, in the order `order`, two
/// of them at most. Their values are those of `noise`; what `work` asks for in another order, or
/// what `order` lacks, is drawn when it is asked for.
pub fn draw_ahead<T>(
    noise: &ImageNoise,
    order: &[Purpose],
    work: impl FnOnce(&dyn Noise) -> T,
) -> T {
    if order.is_empty() {
        return work(noise);
    }
    std::thread::scope(|scope| {
        let (sender, drawn) = sync_channel(WAITING);
        scope.spawn(move || {
            // Where there is no memory, `work` meets the same by itself.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                for purpose in order {
                    let buffer = noise.draw_into_buffer(*purpose);
                    let purpose = *purpose;
                    // The receiver is gone once `work` has ended.
                    if sender.send(Drawn { purpose, buffer }).is_err() {
                        return;
                    }
                }
            }));
        });
        work(&NoiseAhead {
            noise,
            drawn: RefCell::new(drawn),
            order,
            taken: Cell::new(0),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn noise() -> ImageNoise {
        ImageNoise {
            seed: 3,
            names: ["a", "b", "c"].map(String::from).to_vec(),
            side: 8,
            device: Device::Cpu,
        }
    }

    fn steps(range: std::ops::Range<usize>) -> Vec<Purpose> {
        let steps = range.rev().map(|step| Purpose::Step { repeat: 0, step });
        steps.collect()
    }

    /// Asks for draws ahead of which `order` was announced; each must be what it is at once.
    fn assert_equal_draws(order: &[Purpose], asked: &[Purpose]) {
        let noise = noise();
        draw_ahead(&noise, order, |ahead| {
            for purpose in asked {
                let (ahead, at_once) = (ahead.draw(*purpose), noise.draw(*purpose));
                assert!(ahead.equal(&at_once), "{purpose:?}");
            }
            assert_eq!(ahead.key(order[0]), noise.key(order[0]));
        });
    }

    #[test]
    fn noise_drawn_ahead_is_noise_drawn_at_once() {
        let mut order = vec![Purpose::Start { repeat: 0 }];
        order.extend(steps(0..40));
        assert_equal_draws(&order, &order);
    }

    #[test]
    fn draws_in_another_order_and_draws_that_were_not_announced_are_the_same_too() {
        let order = steps(0..12);
        let mut backwards = order.clone();
        backwards.reverse();
        assert_equal_draws(&order, &backwards);
        assert_equal_draws(&order, &steps(3..20));
        assert_equal_draws(&order, &[order[5], order[5], order[7], order[2]]);
    }

    #[test]
    fn work_that_ends_early_leaves_no_thread_behind() {
        let noise = noise();
        let order = steps(0..1000);
        let first = draw_ahead(&noise, &order, |ahead| ahead.draw(order[0]));
        assert!(first.equal(&noise.draw(order[0])));
        let broken = catch_unwind(AssertUnwindSafe(|| {
            draw_ahead(&noise, &order, |_| panic!("no memory"))
        }));
        let cause = broken.unwrap_err();
        assert_eq!(cause.downcast_ref::<&str>(), Some(&"no memory"));
    }
}
