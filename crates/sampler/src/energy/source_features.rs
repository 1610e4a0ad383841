//! Features of the perturbed source, shared between the rows of a sweep: they do not depend on the
//! sample, so rows with the same noise and start need them once.

use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// A cache of features, keyed by the SHA-256 of the perturbed sources and the times.
///
/// It keeps what fits and never replaces an entry: a sweep asks in the same order row after row,
/// and replacement would drop what it asks for next.
#[derive(Debug)]
pub struct SourceFeatures {
    entries: RefCell<HashMap<[u8; 32], Tensor>>,
    /// Bytes still free.
    free: Cell<usize>,
}

/// Bytes of a float32 CPU tensor.
fn tensor_bytes(x: &Tensor) -> Vec<u8> {
    let x = x.contiguous();
    let mut bytes = vec![0; x.numel() * 4];
    x.copy_data_u8(&mut bytes, x.numel());
    bytes
}

impl SourceFeatures {
    /// An empty cache that keeps at most `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: RefCell::default(),
            free: Cell::new(capacity),
        }
    }

    /// The features of `xt` `[n, 3, s, s]` at `t` `[n]`, computed by `compute` when they are not
    /// kept.
    ///
    /// Only float32 tensors on the CPU are kept: a GPU would have to finish its work for every key.
    pub fn get_or_compute(
        &self,
        xt: &Tensor,
        t: &Tensor,
        compute: impl FnOnce() -> Tensor,
    ) -> Tensor {
        if xt.device() != Device::Cpu || xt.kind() != Kind::Float || t.kind() != Kind::Float {
            return compute();
        }
        let hasher = Sha256::new_with_prefix(tensor_bytes(xt)).chain_update(tensor_bytes(t));
        let key: [u8; 32] = hasher.finalize().into();
        if let Some(features) = self.entries.borrow().get(&key) {
            return features.shallow_clone();
        }
        let features = compute();
        let size = features.numel() * 4;
        if size <= self.free.get() {
            self.free.set(self.free.get() - size);
            self.entries
                .borrow_mut()
                .insert(key, features.shallow_clone());
        }
        features
    }

    /// Frees the memory and keeps nothing from here on.
    pub fn disable(&self) {
        self.free.set(0);
        self.entries.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(seed: i64) -> Tensor {
        tch::manual_seed(seed);
        Tensor::randn([2, 3, 4, 4], (Kind::Float, Device::Cpu))
    }

    /// A cache with a count of what it computed.
    struct Counted {
        features: SourceFeatures,
        computed: Cell<usize>,
    }

    impl Counted {
        fn get(&self, xt: &Tensor, t: f32) -> Tensor {
            self.features
                .get_or_compute(xt, &Tensor::from_slice(&[t, t]), || {
                    self.computed.set(self.computed.get() + 1);
                    xt * f64::from(t)
                })
        }
    }

    #[test]
    fn the_same_source_and_time_are_computed_once_while_there_is_room() {
        let features = SourceFeatures::new(2 * 96 * 4);
        let cache = Counted {
            features,
            computed: Cell::new(0),
        };
        let first = cache.get(&source(1), 2.0);
        assert!(cache.get(&source(1), 2.0).equal(&first) && cache.computed.get() == 1);
        drop(cache.get(&source(1), 3.0));
        drop(cache.get(&source(2), 2.0));
        assert_eq!(
            cache.computed.get(),
            3,
            "another time and another source are other entries"
        );
        drop(cache.get(&source(1), 3.0));
        assert_eq!(cache.computed.get(), 3);
        drop(cache.get(&source(2), 2.0));
        assert_eq!(cache.computed.get(), 4, "there was room for two");
        cache.features.disable();
        drop(cache.get(&source(1), 2.0));
        assert_eq!(cache.computed.get(), 5);
    }
}
