//! Phi: the low-pass filter of the domain-independent energy and of ILVR (`resizer.py` of ILVR's
//! code).

use anyhow::{Result, ensure};
use egsde_models::tf32;
use tch::{Device, Kind, Tensor};

/// Shrinks images by a factor and enlarges them back. Each direction is one matrix per axis,
/// computed once.
#[derive(Debug)]
pub struct LowPass {
    /// `[side / factor, side]`.
    down: Tensor,
    /// `[side, side / factor]`.
    up: Tensor,
    /// `up` times `down`, `[side, side]`.
    both: Tensor,
}

/// The resampling kernel. EGSDE's energy uses the linear one, ILVR's code the cubic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Triangle, 1 pixel to each side.
    Linear,
    /// Keys' cubic with a = -0.5, 2 pixels to each side.
    Cubic,
}

impl Kernel {
    /// Half its width, in pixels.
    fn support(self) -> f64 {
        match self {
            Self::Linear => 1.0,
            Self::Cubic => 2.0,
        }
    }

    /// Its value at a distance of `x` pixels from the centre.
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

/// Row-major `[outputs, inputs]` weights of one axis. The kernel is widened when shrinking
/// (antialiasing), borders are mirrored, and each row is normalised to 1.
fn resize_weights(inputs: usize, outputs: usize, kernel: Kernel) -> Vec<f64> {
    let scale = outputs as f64 / inputs as f64;
    let sharpness = scale.min(1.0);
    let reach = (kernel.support() / sharpness).ceil() as i64 + 1;
    let mut weights = vec![0.0; inputs * outputs];
    for (o, row) in weights.chunks_exact_mut(inputs).enumerate() {
        let center = (o as f64 + 0.5) / scale - 0.5;
        let middle = center.floor() as i64;
        for j in middle - reach..=middle + reach + 1 {
            row[mirrored(j, inputs)] += kernel.at((center - j as f64) * sharpness);
        }
        let sum: f64 = row.iter().sum();
        for weight in row {
            *weight /= sum;
        }
    }
    weights
}

/// The position in `0..size` that position `j` is when the axis is mirrored at its borders.
fn mirrored(j: i64, size: usize) -> usize {
    let period = 2 * size as i64;
    let folded = j.rem_euclid(period);
    let inside = if folded < size as i64 {
        folded
    } else {
        period - 1 - folded
    };
    inside as usize
}

/// `[outputs, inputs]`, float32, on the CPU.
fn matrix(inputs: usize, outputs: usize, kernel: Kernel) -> Tensor {
    let weights = Tensor::from_slice(&resize_weights(inputs, outputs, kernel));
    weights
        .reshape([outputs as i64, inputs as i64])
        .to_kind(Kind::Float)
}

/// `(x m^T)^T` on the last two dimensions.
fn multiply_transposed(x: &Tensor, m: &Tensor) -> Tensor {
    x.matmul(&m.transpose(0, 1)).transpose(-1, -2).contiguous()
}

/// `m x m^T` on the last two dimensions. Both products have the matrix on the right: from the left,
/// libtorch multiplies the images of a batch one by one.
fn apply(m: &Tensor, x: &Tensor) -> Tensor {
    tf32::without(|| multiply_transposed(&multiply_transposed(x, m), m))
}

impl LowPass {
    /// The filter for square images of `side` pixels.
    ///
    /// # Errors
    /// `factor` is 0 or does not divide `side`.
    pub fn new(side: usize, factor: usize, kernel: Kernel, device: Device) -> Result<Self> {
        ensure!(
            factor >= 1 && side.is_multiple_of(factor),
            "low_pass_factor {factor} does not divide the picture's side {side}"
        );
        let down = matrix(side, side / factor, kernel);
        let up = matrix(side / factor, side, kernel);
        // The product is taken on the CPU: a GPU might compute it in TF32.
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

    /// `[n, c, s / factor, s / factor]` to `[n, c, s, s]`.
    pub fn up(&self, x: &Tensor) -> Tensor {
        apply(&self.up, x)
    }

    /// Phi(x) = up(down(x)) for `x` `[n, c, s, s]`, same shape.
    pub fn filter(&self, x: &Tensor) -> Tensor {
        apply(&self.both, x)
    }

    /// The transpose of [`LowPass::filter`], for closed-form gradients, same shape.
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
        let x = Tensor::randn([2, 3, 32, 32], (Kind::Float, Device::Cpu));
        let y = Tensor::randn([2, 3, 32, 32], (Kind::Float, Device::Cpu));
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
