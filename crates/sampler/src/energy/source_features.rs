//! Features of the perturbed source, shared between the rows of a sweep: they do not depend on the
//! sample, so rows with the same noise and start need them once.

use crate::noise::DrawKey;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use tch::Tensor;

/// What decides the perturbed source of a batch and its time: the draw, which is keyed by seed,
/// names of the images and step, and the place in the schedule. A GPU need not finish its work for
/// it, as it would for a key over the values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceKey {
    draw: DrawKey,
    alpha_prod_bits: u64,
    t_bits: u64,
}

impl SourceKey {
    /// The key of sources perturbed by a draw to the cumulative alpha `alpha_prod`, at the time
    /// index `t`.
    pub fn new(draw: DrawKey, alpha_prod: f64, t: f64) -> Self {
        Self {
            draw,
            alpha_prod_bits: alpha_prod.to_bits(),
            t_bits: t.to_bits(),
        }
    }
}

/// A cache of one extractor's features of one set of source images, on the device where they were
/// computed.
///
/// It keeps what fits and never replaces an entry: a sweep asks in the same order row after row,
/// and replacement would drop what it asks for next.
#[derive(Debug)]
pub struct SourceFeatures {
    entries: RefCell<HashMap<SourceKey, Tensor>>,
    /// Bytes still free.
    free: Cell<usize>,
}

impl SourceFeatures {
    /// An empty cache that keeps at most `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: RefCell::default(),
            free: Cell::new(capacity),
        }
    }

    /// The features of a key, computed by `compute` when they are not kept.
    pub fn get_or_compute(&self, key: &SourceKey, compute: impl FnOnce() -> Tensor) -> Tensor {
        if let Some(features) = self.entries.borrow().get(key) {
            return features.shallow_clone();
        }
        let features = compute();
        let size = features.numel() * features.kind().elt_size_in_bytes();
        if size <= self.free.get() {
            self.free.set(self.free.get() - size);
            let kept = features.shallow_clone();
            self.entries.borrow_mut().insert(key.clone(), kept);
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
    use tch::{Device, Kind};

    /// A cache with a count of what it computed.
    struct Counted {
        features: SourceFeatures,
        computed: Cell<usize>,
    }

    impl Counted {
        fn get(&self, draw: u8, t: f64) -> Tensor {
            let key = SourceKey::new([draw; 32], 0.5, t);
            self.features.get_or_compute(&key, || {
                self.computed.set(self.computed.get() + 1);
                Tensor::full([2, 3, 4, 4], t, (Kind::Float, Device::Cpu)) + f64::from(draw)
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
        let first = cache.get(1, 2.0);
        assert!(cache.get(1, 2.0).equal(&first) && cache.computed.get() == 1);
        drop(cache.get(1, 3.0));
        drop(cache.get(2, 2.0));
        assert_eq!(
            cache.computed.get(),
            3,
            "another time and another source are other entries"
        );
        drop(cache.get(1, 3.0));
        assert_eq!(cache.computed.get(), 3);
        drop(cache.get(2, 2.0));
        assert_eq!(cache.computed.get(), 4, "there was room for two");
        cache.features.disable();
        drop(cache.get(1, 2.0));
        assert_eq!(cache.computed.get(), 5);
    }

    #[test]
    fn places_of_other_schedules_are_other_keys() {
        let key = SourceKey::new([1; 32], 0.5, 100.0);
        assert_eq!(key, SourceKey::new([1; 32], 0.5, 100.0));
        assert_ne!(key, SourceKey::new([1; 32], 0.5f64.next_up(), 100.0));
        assert_ne!(key, SourceKey::new([1; 32], 0.5, 101.0));
    }
}
