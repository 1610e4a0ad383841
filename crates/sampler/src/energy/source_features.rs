//! The source's features at a time do not depend on the sample: rows of a sweep that share noise and start need them once.

use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// Features of perturbed sources by content: whoever asks with the same pictures, noise and time gets the same. Keeps what
/// fits and never replaces: a sweep comes by in the same order again and again, and would push out what it needs next.
#[derive(Debug)]
pub struct SourceFeatures {
    kept: RefCell<HashMap<[u8; 32], Tensor>>,
    room: Cell<usize>,
}

/// Bytes of a float32 CPU tensor.
fn bytes(x: &Tensor) -> Vec<u8> {
    let x = x.contiguous();
    let mut bytes = vec![0; x.numel() * 4];
    x.copy_data_u8(&mut bytes, x.numel());
    bytes
}

impl SourceFeatures {
    /// Keeps at most `room` bytes.
    pub fn new(room: usize) -> Self {
        Self {
            kept: RefCell::default(),
            room: Cell::new(room),
        }
    }

    /// The features of `xt` at `t`, made by `make` when they are not there. Only for float32 on the CPU: a GPU would have to
    /// wait for every key.
    pub fn of(&self, xt: &Tensor, t: &Tensor, make: impl FnOnce() -> Tensor) -> Tensor {
        if xt.device() != Device::Cpu || xt.kind() != Kind::Float || t.kind() != Kind::Float {
            return make();
        }
        let key: [u8; 32] = Sha256::new_with_prefix(bytes(xt))
            .chain_update(bytes(t))
            .finalize()
            .into();
        if let Some(features) = self.kept.borrow().get(&key) {
            return features.shallow_clone();
        }
        let features = make();
        let size = features.numel() * 4;
        if size <= self.room.get() {
            self.room.set(self.room.get() - size);
            self.kept.borrow_mut().insert(key, features.shallow_clone());
        }
        features
    }

    /// Gives the memory back and keeps nothing more.
    pub fn give_up(&self) {
        self.room.set(0);
        self.kept.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_source_and_time_are_made_once_while_there_is_room() {
        let (made, draw) = (Cell::new(0), |seed| {
            tch::manual_seed(seed);
            Tensor::randn([2, 3, 4, 4], (Kind::Float, Device::Cpu))
        });
        let time = |t: f32| Tensor::from_slice(&[t, t]);
        let features = SourceFeatures::new(2 * 96 * 4);
        let of = |xt: &Tensor, t: f32| {
            features.of(xt, &time(t), || {
                made.set(made.get() + 1);
                xt * f64::from(t)
            })
        };
        let first = of(&draw(1), 2.0);
        assert!(of(&draw(1), 2.0).equal(&first) && made.get() == 1);
        drop(of(&draw(1), 3.0));
        drop(of(&draw(2), 2.0));
        assert_eq!(made.get(), 3, "another time and another source are others");
        drop(of(&draw(1), 3.0));
        assert_eq!(made.get(), 3);
        drop(of(&draw(2), 2.0));
        assert_eq!(made.get(), 4, "there was room for two");
        features.give_up();
        drop(of(&draw(1), 2.0));
        assert_eq!(made.get(), 5);
    }
}
