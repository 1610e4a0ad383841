//! Weights and inputs by formula, so that large networks can be checked without shipping a file
//! (`tests/golden/README.md` defines the formulas).

use tch::Tensor;
use tch::nn::VarStore;

fn fnv1a64(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn splitmix64(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit(base: u64, index: u64) -> f32 {
    (splitmix64(base.wrapping_add(index)) >> 40) as f32 * 2f32.powi(-23) - 1.0
}

/// `uniform(name, shape)`: values in [-1, 1), row-major.
pub fn uniform(name: &str, shape: &[i64]) -> Tensor {
    let base = fnv1a64(name);
    let count = shape.iter().product::<i64>() as u64;
    let values: Vec<f32> = (0..count).map(|i| unit(base, i)).collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// `gaussian(name, shape)`: mean 0, variance 1 (sum of four uniforms, in float64).
pub fn gaussian(name: &str, shape: &[i64]) -> Tensor {
    let base = fnv1a64(name);
    let count = shape.iter().product::<i64>() as u64;
    let one = |i: u64| {
        (0..4)
            .map(|k| f64::from(unit(base, 4 * i + k)))
            .sum::<f64>()
            * 3f64.sqrt()
            / 2.0
    };
    let values: Vec<f32> = (0..count).map(|i| one(i) as f32).collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// One weight by its state-dict key.
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

/// Sets every variable of `vs` by its key.
pub fn fill(vs: &VarStore, gain: f64) {
    tch::no_grad(|| {
        for (key, mut variable) in vs.variables() {
            variable.copy_(&weight(&key, &variable.size(), gain));
        }
    });
}
