//! Phi: the low-pass filter of the domain-independent energy and of ILVR (ILVR's `resizer.py`).

use anyhow::{Result, ensure};
use egsde_models::tf32;
use tch::{Device, Kind, Tensor};

/// Shrinks by `factor` and enlarges back. Each direction is one matrix an axis, made once.
#[derive(Debug)]
pub struct LowPass {
    down: Tensor,
    up: Tensor,
    both: Tensor,
}

/// The resampling kernel: EGSDE's energy uses the linear one, ILVR's code the cubic one (its golden cases show it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Triangle, 1 pixel to each side.
    Linear,
    /// Keys' cubic with a = -0.5, 2 pixels to each side.
    Cubic,
}

impl Kernel {
    fn support(self) -> f64 {
        match self {
            Self::Linear => 1.0,
            Self::Cubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Linear => (1.0 - x).max(0.0),
            Self::Cubic if x <= 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Cubic if x <= 2.0 => ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0,
            Self::Cubic => 0.0,
        }
    }
}

/// Row-major `[outputs, inputs]` weights of one axis: the kernel is widened when shrinking (antialiased),
/// borders are mirrored, each row is normalised to 1.
fn resize_weights(inputs: usize, outputs: usize, kernel: Kernel) -> Vec<f64> {
    let scale = outputs as f64 / inputs as f64;
    let sharpness = scale.min(1.0);
    let reach = (kernel.support() / sharpness).ceil() as i64 + 1;
    let mut weights = vec![0.0; inputs * outputs];
    for (o, row) in weights.chunks_exact_mut(inputs).enumerate() {
        let center = (o as f64 + 0.5) / scale - 0.5;
        let middle = center.floor() as i64;
        for j in middle - reach..=middle + reach + 1 {
            let period = 2 * inputs as i64;
            let folded = j.rem_euclid(period);
            let mirrored = if folded < inputs as i64 {
                folded
            } else {
                period - 1 - folded
            };
            row[mirrored as usize] += kernel.at((center - j as f64) * sharpness);
        }
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|w| *w /= sum);
    }
    weights
}

/// `[outputs, inputs]`, float32, on the CPU.
fn matrix(inputs: usize, outputs: usize, kernel: Kernel) -> Tensor {
    let weights = Tensor::from_slice(&resize_weights(inputs, outputs, kernel));
    weights
        .reshape([outputs as i64, inputs as i64])
        .to_kind(Kind::Float)
}

/// `m x m^T` on the last two dimensions; as two plain products, since libtorch multiplies a batch from the left one by one.
fn apply(m: &Tensor, x: &Tensor) -> Tensor {
    let turned = m.transpose(0, 1);
    let right = |x: &Tensor| x.matmul(&turned).transpose(-1, -2).contiguous();
    tf32::without(|| right(&right(x)))
}

impl LowPass {
    /// For square pictures of `side` pixels; `factor` must divide `side`.
    pub fn new(side: usize, factor: usize, kernel: Kernel, device: Device) -> Result<Self> {
        ensure!(
            factor >= 1 && side.is_multiple_of(factor),
            "low_pass_factor {factor} does not divide the picture's side {side}"
        );
        // Multiplied on the CPU: a GPU might take TF32 for it.
        let (down, up) = (
            matrix(side, side / factor, kernel),
            matrix(side / factor, side, kernel),
        );
        let both = up.matmul(&down);
        Ok(Self {
            down: down.to_device(device),
            up: up.to_device(device),
            both: both.to_device(device),
        })
    }

    /// `[n, c, s, s]` to `[n, c, s / factor, s / factor]`.
    pub fn down(&self, x: &Tensor) -> Tensor {
        apply(&self.down, x)
    }

    /// The way back.
    pub fn up(&self, x: &Tensor) -> Tensor {
        apply(&self.up, x)
    }

    /// Phi(x) = up(down(x)), same shape.
    pub fn filter(&self, x: &Tensor) -> Tensor {
        apply(&self.both, x)
    }

    /// The transpose of [`LowPass::filter`], for closed-form gradients.
    pub fn transposed(&self, x: &Tensor) -> Tensor {
        apply(&self.both.transpose(0, 1), x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_pass_and_factor_one_changes_nothing() {
        let low_pass = LowPass::new(32, 8, Kernel::Linear, Device::Cpu).unwrap();
        let cubic = LowPass::new(32, 8, Kernel::Cubic, Device::Cpu).unwrap();
        let flat = Tensor::full([1, 3, 32, 32], 0.7, (Kind::Float, Device::Cpu));
        assert!(
            (low_pass.filter(&flat) - &flat)
                .abs()
                .max()
                .double_value(&[])
                < 1e-6
        );
        assert!((cubic.filter(&flat) - &flat).abs().max().double_value(&[]) < 1e-6);
        let x = Tensor::rand([1, 3, 32, 32], (Kind::Float, Device::Cpu));
        let same = LowPass::new(32, 1, Kernel::Linear, Device::Cpu)
            .unwrap()
            .filter(&x);
        assert!((same - x).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn the_transpose_is_the_adjoint() {
        tch::manual_seed(1);
        let low_pass = LowPass::new(32, 4, Kernel::Linear, Device::Cpu).unwrap();
        let draw = || Tensor::randn([2, 3, 32, 32], (Kind::Float, Device::Cpu));
        let (x, y) = (draw(), draw());
        let left = (low_pass.filter(&x) * &y)
            .sum(Kind::Float)
            .double_value(&[]);
        let right = (x * low_pass.transposed(&y))
            .sum(Kind::Float)
            .double_value(&[]);
        assert!(
            (left - right).abs() < 1e-3 * left.abs().max(1.0),
            "{left} {right}"
        );
    }

    #[test]
    fn a_factor_that_does_not_divide_is_refused() {
        assert!(LowPass::new(32, 5, Kernel::Linear, Device::Cpu).is_err());
        assert!(LowPass::new(32, 0, Kernel::Linear, Device::Cpu).is_err());
    }
}
