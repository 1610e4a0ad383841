//! Antialiased changes of the resolution (Zhang 2019, "Making Convolutional Networks
//! Shift-Invariant Again"), as CUT's networks have them.

use tch::{Kind, Tensor};

/// The taps of one axis in front of a halving; their sum is 4.
pub(crate) const DOWN_TAPS: [f32; 3] = [1.0, 2.0, 1.0];

/// The taps of one axis behind a doubling; every output position takes half of them.
pub(crate) const UP_TAPS: [f32; 4] = [1.0, 3.0, 3.0, 1.0];

/// The kernel of both axes, `[taps, taps]` in float32, whose sum is that of the taps squared over
/// 16.
pub(crate) fn blur_kernel(taps: &[f32]) -> Tensor {
    let taps = Tensor::from_slice(taps);
    taps.outer(&taps) / 16.0
}

/// Halves `x` `[n, c, h, w]`: borders mirrored by a pixel, blurred, every second pixel kept. A side
/// of `s` pixels becomes one of `(s - 1) / 2 + 1`.
pub fn blur_down(x: &Tensor) -> Tensor {
    let channels = x.size()[1];
    let kernel = blur_kernel(&DOWN_TAPS)
        .to_device(x.device())
        .to_kind(x.kind())
        .expand([channels, 1, 3, 3], false);
    let bias = None::<Tensor>;
    x.reflection_pad2d([1; 4])
        .conv2d(&kernel, bias, [2, 2], [0, 0], [1, 1], channels)
}

/// Doubles `x` `[n, c, h, w]`. CUT's transposed convolution with the taps 1, 3, 3, 1 on repeated
/// borders is bilinear interpolation with corners not aligned.
pub fn blur_up(x: &Tensor) -> Tensor {
    let (height, width) = (x.size()[2], x.size()[3]);
    let single = x.to_kind(Kind::Float);
    single
        .upsample_bilinear2d([2 * height, 2 * width], false, None, None)
        .to_kind(x.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn doubling_is_the_files_kernel_as_a_transposed_convolution_on_repeated_borders() {
        tch::manual_seed(7);
        let x = Tensor::randn([2, 3, 5, 4], (Kind::Float, Device::Cpu));
        let kernel = blur_kernel(&UP_TAPS).expand([3, 1, 4, 4], false);
        let padded = x.replication_pad2d([1; 4]);
        let bias = None::<Tensor>;
        let full = padded.conv_transpose2d(&kernel, bias, [2, 2], [2, 2], [0, 0], 3, [1, 1]);
        let want = full.narrow(2, 1, 10).narrow(3, 1, 8);
        let error = (blur_up(&x) - want).abs().max().double_value(&[]);
        assert!(error < 1e-6, "{error}");
    }

    #[test]
    fn a_constant_stays_and_odd_sides_round_up() {
        let x = Tensor::ones([1, 2, 7, 6], (Kind::Float, Device::Cpu));
        let down = blur_down(&x);
        assert_eq!(down.size(), [1, 2, 4, 3]);
        assert!((down - 1.0).abs().max().double_value(&[]) < 1e-6);
    }
}
