//! Entries of published state dicts that are no weights: kernels that never change, and statistics
//! that nothing uses.

use crate::layers::blur::{DOWN_TAPS, UP_TAPS, blur_kernel};
use crate::networks::stargan_v2_generator::high_pass_kernel;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// What an entry of a file is to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// One of the network's variables.
    Weight,
    /// A count of batches, or running statistics of a normalisation that has no variables (those of
    /// the published CycleGAN generators, which train and translate by each image's own).
    Unused,
    /// The kernel of a blur or of the high-pass filter, as the network has it.
    FixedKernel,
    /// A kernel of that shape whose values differ from the network's.
    OtherKernel,
    /// Nothing that the network knows.
    Unexpected,
}

/// Whether an entry of this name may be none of a network's weights, as far as names tell it: a
/// fixed kernel's values must still be the network's.
pub(crate) fn may_be_no_weight(key: &str, variables: &BTreeMap<String, Vec<i64>>) -> bool {
    let (layer, name) = key.rsplit_once('.').unwrap_or(("", key));
    match name {
        "num_batches_tracked" | "filt" => true,
        "running_mean" | "running_var" => !variables.contains_key(&format!("{layer}.weight")),
        "filter" => layer.rsplit('.').next() == Some("hpf"),
        _ => false,
    }
}

/// Largest difference of a kernel's values that rounding can make.
const KERNEL_TOLERANCE: f64 = 1e-5;

impl Entry {
    /// What the entry `key` is to a network with variables of these names and shapes.
    pub fn classify(key: &str, tensor: &Tensor, variables: &BTreeMap<String, Vec<i64>>) -> Self {
        if variables.contains_key(key) {
            return Self::Weight;
        }
        let (layer, name) = key.rsplit_once('.').unwrap_or(("", key));
        let has_weight = variables.contains_key(&format!("{layer}.weight"));
        let is_kernel = match name {
            "num_batches_tracked" => return Self::Unused,
            "running_mean" | "running_var" if !has_weight => return Self::Unused,
            "filt" => is_blur(tensor),
            "filter" if layer.rsplit('.').next() == Some("hpf") => is_high_pass(tensor),
            _ => return Self::Unexpected,
        };
        if is_kernel {
            Self::FixedKernel
        } else {
            Self::OtherKernel
        }
    }
}

/// Whether all values of `kernel` are those of `want` `[h, w]`, per channel.
fn is_same(kernel: &Tensor, want: &Tensor) -> bool {
    let difference = kernel.to_kind(Kind::Float) - want;
    // Not a number is not below the tolerance.
    difference.abs().max().double_value(&[]) <= KERNEL_TOLERANCE
}

/// Whether it is CUT's kernel in front of a halving or behind a doubling, `[c, 1, h, w]`.
fn is_blur(kernel: &Tensor) -> bool {
    let taps: &[f32] = match kernel.size()[..] {
        [channels, 1, 3, 3] if channels > 0 => &DOWN_TAPS,
        [channels, 1, 4, 4] if channels > 0 => &UP_TAPS,
        _ => return false,
    };
    is_same(kernel, &blur_kernel(taps))
}

/// Whether it is StarGAN v2's high-pass filter over some `w_hpf`, `[3, 3]`.
fn is_high_pass(kernel: &Tensor) -> bool {
    if kernel.size() != [3, 3] {
        return false;
    }
    let want = high_pass_kernel();
    let factor = kernel.double_value(&[1, 1]) / want.double_value(&[1, 1]);
    factor > 0.0 && is_same(&(kernel / factor), &want)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a network whose only layer, `norm`, has a weight.
    fn classify(key: &str, tensor: &Tensor) -> Entry {
        let variables = BTreeMap::from([("norm.weight".to_string(), vec![4])]);
        Entry::classify(key, tensor, &variables)
    }

    #[test]
    fn statistics_count_only_where_the_layer_has_weights() {
        let statistics = Tensor::from_slice(&[1f32; 4]);
        assert_eq!(classify("norm.weight", &statistics), Entry::Weight);
        assert_eq!(classify("other.running_mean", &statistics), Entry::Unused);
        assert_eq!(classify("other.running_var", &statistics), Entry::Unused);
        assert_eq!(classify("norm.running_var", &statistics), Entry::Unexpected);
        assert_eq!(
            classify("norm.num_batches_tracked", &statistics),
            Entry::Unused
        );
        assert_eq!(classify("other.weight", &statistics), Entry::Unexpected);
    }

    #[test]
    fn kernels_are_accepted_with_their_own_values_only() {
        let down = blur_kernel(&DOWN_TAPS).expand([5, 1, 3, 3], false);
        let up = blur_kernel(&UP_TAPS).expand([5, 1, 4, 4], false);
        for blur in [&down, &up] {
            assert_eq!(classify("model.7.filt", blur), Entry::FixedKernel);
            assert_eq!(classify("model.7.filt", &(blur * 2.0)), Entry::OtherKernel);
            assert_eq!(
                classify("model.7.filt", &(blur * f64::NAN)),
                Entry::OtherKernel
            );
        }
        let filter = high_pass_kernel() / 2.0;
        assert_eq!(
            classify("generator.hpf.filter", &filter),
            Entry::FixedKernel
        );
        assert_eq!(classify("hpf.filter", &-&filter), Entry::OtherKernel);
        assert_eq!(classify("hpf.filter", &down), Entry::OtherKernel);
        assert_eq!(classify("lpf.filter", &filter), Entry::Unexpected);
    }
}
