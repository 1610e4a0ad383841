//! Weights and inputs by formula, so that large networks can be checked without shipping a file.
//! `crates/runner/tests/golden/README.md` defines the formulas.

use tch::Tensor;
use tch::nn::VarStore;

/// The 64-bit FNV-1a hash of a name.
fn fnv1a64(name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// One step of the generator SplitMix64.
fn splitmix64(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The number at `index` of the stream `base`, in [-1, 1).
fn unit(base: u64, index: u64) -> f32 {
    (splitmix64(base.wrapping_add(index)) >> 40) as f32 * 2f32.powi(-23) - 1.0
}

/// The tensor of `value(i)` at the row-major index `i`.
fn from_formula(shape: &[i64], value: impl FnMut(u64) -> f32) -> Tensor {
    let count = shape.iter().product::<i64>() as u64;
    let values: Vec<f32> = (0..count).map(value).collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// `uniform(name, shape)`: float32 values in [-1, 1).
pub fn uniform(name: &str, shape: &[i64]) -> Tensor {
    let base = fnv1a64(name);
    from_formula(shape, |i| unit(base, i))
}

/// `gaussian(name, shape)`: float32 values of mean 0 and variance 1, each the scaled sum of four
/// uniform ones (in float64).
pub fn gaussian(name: &str, shape: &[i64]) -> Tensor {
    let base = fnv1a64(name);
    from_formula(shape, |i| {
        let sum = (0..4)
            .map(|k| f64::from(unit(base, 4 * i + k)))
            .sum::<f64>();
        (sum * 3f64.sqrt() / 2.0) as f32
    })
}

/// `param(key, shape)`: one weight by its state-dict key. Matrices and convolutions keep the
/// variance of their input times `gain` squared; factors lie around 1, biases around 0.
pub fn weight(key: &str, shape: &[i64], gain: f64) -> Tensor {
    let u = uniform(key, shape);
    if key.ends_with("running_var") || (shape.len() == 1 && key.ends_with("weight")) {
        return u * 0.1 + 1.0;
    }
    if shape.len() < 2 {
        return u * 0.1;
    }
    let fan_in: i64 = shape[1..].iter().product();
    u * (gain * (3.0 / fan_in as f64).sqrt())
}

/// Sets every variable of `vs` to its [`weight`].
pub fn fill(vs: &VarStore, gain: f64) {
    fill_prefixed(vs, "", gain);
}

/// As [`fill`], with `prefix` put in front of each key: two networks of one family then differ.
pub fn fill_prefixed(vs: &VarStore, prefix: &str, gain: f64) {
    tch::no_grad(|| {
        for (key, mut variable) in vs.variables() {
            variable.copy_(&weight(&format!("{prefix}{key}"), &variable.size(), gain));
        }
    });
}
