//! Group normalisation, scale, shift and SiLU in one kernel, and its gradient.
//!
//! Written out, layer and time embedding compute for the values `x` of a channel
//!
//! ```text
//! y = (((x - mean) * rstd) * weight + bias) * (1 + scale) + shift,    then SiLU(y)
//! ```
//!
//! where `mean` and `rstd` (the reciprocal standard deviation) belong to the channel's group. Per
//! image and channel all of this is one line, `y = x * factor + offset`, so that the kernel passes
//! over the memory once for the statistics and once for the values.

mod loops;

use super::nhwc::{DisjointWriter, NhwcBatch, NhwcView};
use super::parallel::parallel_for;
use super::to_f32_vec;
use loops::Channels;
use std::ops::Range;
use tch::Tensor;

/// Pixels whose float32 sums one thread takes at a time. A constant, so that the sums do not depend
/// on the number of threads.
const STRIP_PIXELS: usize = 1024;

/// What follows the normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Identity,
    Silu,
}

/// The layer: its weights, its groups, and what follows the normalisation.
pub(crate) struct GroupNormParameters<'a> {
    /// `[c]`.
    pub weight: &'a Tensor,
    /// `[c]`.
    pub bias: &'a Tensor,
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// `[n, 2 c]`, or `[1, 2 c]` for all images: the result is multiplied by 1 plus the first half,
    /// then the second half is added.
    pub scale_shift: Option<&'a Tensor>,
    pub activation: Activation,
}

/// A group normalisation of one batch: its statistics, and what its gradient needs.
pub(crate) struct GroupNormPass {
    x: NhwcBatch,
    channels: BatchChannels,
    groups: usize,
    activation: Activation,
}

/// Numbers per image and channel, `[n, c]` each.
struct BatchChannels {
    c: usize,
    /// Mean and reciprocal standard deviation of the channel's group.
    mean: Vec<f32>,
    rstd: Vec<f32>,
    /// What the normalised value is multiplied by.
    gain: Vec<f32>,
    /// The whole layer in front of its activation is `x * factor + offset`.
    factor: Vec<f32>,
    offset: Vec<f32>,
}

impl BatchChannels {
    /// The numbers of one image.
    fn image(&self, image: usize) -> Channels<'_> {
        let range = image * self.c..(image + 1) * self.c;
        Channels {
            mean: &self.mean[range.clone()],
            rstd: &self.rstd[range.clone()],
            gain: &self.gain[range.clone()],
            factor: &self.factor[range.clone()],
            offset: &self.offset[range],
        }
    }
}

/// Consecutive pixels of one image that one thread takes at a time.
struct Strip {
    image: usize,
    /// Where its values lie in a batch `[n, h, w, c]`.
    values: Range<usize>,
}

/// The number of strips in an image of so many pixels.
fn strips_per_image(pixels: usize) -> usize {
    pixels.div_ceil(STRIP_PIXELS)
}

/// Calls `body(index, strip)` for every strip of a batch, on all threads.
fn for_each_strip(x: NhwcView, body: impl Fn(usize, Strip) + Sync) {
    let (pixels, strips) = (x.pixels(), strips_per_image(x.pixels()));
    parallel_for(x.n * strips, |_, index| {
        let (image, first) = (index / strips, index % strips * STRIP_PIXELS);
        let count = STRIP_PIXELS.min(pixels - first);
        let start = (image * pixels + first) * x.c;
        body(
            index,
            Strip {
                image,
                values: start..start + count * x.c,
            },
        );
    });
}

/// Two sums over the pixels, per image and channel `[n, c]`.
struct PixelSums {
    first: Vec<f64>,
    second: Vec<f64>,
}

/// Takes two sums over the pixels of each image and channel. `sum_strip` writes the sums over one
/// strip, `[c]` each, in float32; the strips are added in order, in float64.
fn sum_over_pixels(
    x: NhwcView,
    sum_strip: impl Fn(&Strip, &mut [f32], &mut [f32]) + Sync,
) -> PixelSums {
    let (c, strips) = (x.c, strips_per_image(x.pixels()));
    let mut strip_sums = vec![0.0f32; x.n * strips * 2 * c];
    let writer = DisjointWriter::from_slice(&mut strip_sums);
    for_each_strip(x, |index, strip| {
        // SAFETY: every strip has its own part.
        let (first, second) = unsafe { writer.part(index * 2 * c, 2 * c) }.split_at_mut(c);
        sum_strip(&strip, first, second);
    });
    let mut sums = PixelSums {
        first: vec![0.0; x.n * c],
        second: vec![0.0; x.n * c],
    };
    for (index, strip) in strip_sums.chunks_exact(2 * c).enumerate() {
        let image = index / strips;
        for channel in 0..c {
            sums.first[image * c + channel] += f64::from(strip[channel]);
            sums.second[image * c + channel] += f64::from(strip[c + channel]);
        }
    }
    sums
}

/// The mean over each group of values `[n, c]`, written to every channel of the group. `c` divides
/// into the groups evenly.
fn group_means(values: &[f64], c: usize, groups: usize) -> Vec<f64> {
    let width = c / groups;
    let mut means = Vec::with_capacity(values.len());
    for group in values.chunks_exact(width) {
        let mean = group.iter().sum::<f64>() / width as f64;
        means.resize(means.len() + width, mean);
    }
    means
}

impl GroupNormPass {
    /// Takes the statistics of `x` `[n, c, h, w]`, float32 on the CPU.
    pub fn new(x: &Tensor, parameters: &GroupNormParameters) -> Self {
        let x = NhwcBatch::from_tensor(x);
        let (mean, rstd) = group_statistics(x.view(), parameters.groups, parameters.eps);
        let (gain, bias) = gain_and_bias(x.n, x.c, parameters);
        let factor: Vec<f32> = gain.iter().zip(&rstd).map(|(g, r)| g * r).collect();
        let offset = (0..x.n * x.c)
            .map(|i| bias[i] - mean[i] * factor[i])
            .collect();
        let channels = BatchChannels {
            c: x.c,
            mean,
            rstd,
            gain,
            factor,
            offset,
        };
        Self {
            x,
            channels,
            groups: parameters.groups,
            activation: parameters.activation,
        }
    }

    /// The layer's output, of the shape of `x`.
    pub fn forward(&self) -> Tensor {
        let (x, channels, activation) = (self.x.view(), &self.channels, self.activation);
        let mut out = NhwcBatch::uninitialised(x.n, x.h, x.w, x.c);
        let writer = out.writer();
        for_each_strip(x, |_, strip| {
            let channels = channels.image(strip.image);
            // SAFETY: every strip has its own part; AVX2 and FMA were found
            // (`kernels_cover_input`).
            unsafe {
                let to = writer.part(strip.values.start, strip.values.len());
                loops::apply(&x.values[strip.values], &channels, activation, to);
            }
        });
        out.into_tensor()
    }

    /// The gradient with respect to `x`, given that with respect to the output; both have the shape
    /// of `x`.
    ///
    /// With `z = (x - mean) * rstd` and `d` the gradient with respect to `z`, it is
    /// `rstd * (d - mean(d) - z * mean(d * z))`, the means being over the group. The first pass
    /// writes `d` and sums `d` and `d * z`; the second writes the gradient over `d`, as
    /// `d * rstd + x * slope + rest`.
    pub fn backward(&self, gradient: &Tensor) -> Tensor {
        let (x, channels, activation) = (self.x.view(), &self.channels, self.activation);
        let gradient = NhwcBatch::from_tensor(gradient);
        let gradient = gradient.view();
        let mut out = NhwcBatch::uninitialised(x.n, x.h, x.w, x.c);
        let writer = out.writer();
        let sums = sum_over_pixels(x, |strip, sum_d, sum_dz| {
            let channels = channels.image(strip.image);
            let (x, gradient) = (
                &x.values[strip.values.clone()],
                &gradient.values[strip.values.clone()],
            );
            // SAFETY: as in `forward`.
            unsafe {
                let d = writer.part(strip.values.start, strip.values.len());
                loops::backward(x, gradient, &channels, activation, d, sum_d, sum_dz);
            }
        });
        let per_pixel = 1.0 / x.pixels() as f64;
        let d: Vec<f64> = sums.first.iter().map(|sum| sum * per_pixel).collect();
        let dz: Vec<f64> = sums.second.iter().map(|sum| sum * per_pixel).collect();
        let (mean_d, mean_dz) = (
            group_means(&d, x.c, self.groups),
            group_means(&dz, x.c, self.groups),
        );
        let mut slope = Vec::with_capacity(x.n * x.c);
        let mut rest = Vec::with_capacity(x.n * x.c);
        for (i, (mean, rstd)) in channels.mean.iter().zip(&channels.rstd).enumerate() {
            slope.push((-mean_dz[i]) as f32 * rstd * rstd);
            rest.push(-(mean_d[i] as f32) * rstd - slope[i] * mean);
        }
        for_each_strip(x, |_, strip| {
            let range = strip.image * x.c..(strip.image + 1) * x.c;
            let (slope, rest) = (&slope[range.clone()], &rest[range]);
            let rstd = channels.image(strip.image).rstd;
            // SAFETY: as in `forward`.
            unsafe {
                let d = writer.part(strip.values.start, strip.values.len());
                loops::subtract_means(&x.values[strip.values], rstd, slope, rest, d);
            }
        });
        out.into_tensor()
    }
}

/// Mean and reciprocal standard deviation of each channel's group, per image and channel `[n, c]`.
fn group_statistics(x: NhwcView, groups: usize, eps: f64) -> (Vec<f32>, Vec<f32>) {
    let c = x.c;
    // Sums are taken of the differences to the image's first pixel: in the difference of a mean
    // square and a squared mean, the digits of a large mean would cancel.
    let sums = sum_over_pixels(x, |strip, sum, sum_of_squares| {
        let (values, around) = (&x.values[strip.values.clone()], first_pixel(x, strip.image));
        // SAFETY: AVX2 and FMA were found (`kernels_cover_input`).
        unsafe { loops::moments(values, around, sum, sum_of_squares) };
    });
    let per_pixel = 1.0 / x.pixels() as f64;
    let mut channel_means = Vec::with_capacity(x.n * c);
    let mut channel_variances = Vec::with_capacity(x.n * c);
    for i in 0..x.n * c {
        let difference = sums.first[i] * per_pixel;
        channel_means.push(f64::from(first_pixel(x, i / c)[i % c]) + difference);
        channel_variances.push((sums.second[i] * per_pixel - difference.powi(2)).max(0.0));
    }
    let means = group_means(&channel_means, c, groups);
    // A channel's mean square distance to the mean of its group.
    let spread: Vec<f64> = (0..x.n * c)
        .map(|i| channel_variances[i] + (channel_means[i] - means[i]).powi(2))
        .collect();
    let variances = group_means(&spread, c, groups);
    let rstd = variances
        .into_iter()
        .map(|v| (1.0 / (v + eps).sqrt()) as f32)
        .collect();
    (means.into_iter().map(|m| m as f32).collect(), rstd)
}

/// The channels of an image's first pixel, `[c]`.
fn first_pixel<'a>(x: NhwcView<'a>, image: usize) -> &'a [f32] {
    &x.values[image * x.pixels() * x.c..][..x.c]
}

/// What the normalised value is multiplied by and what is added then: the layer's weight and bias
/// with each image's scale and shift in them, `[n, c]` each.
fn gain_and_bias(n: usize, c: usize, parameters: &GroupNormParameters) -> (Vec<f32>, Vec<f32>) {
    let (weight, bias) = (to_f32_vec(parameters.weight), to_f32_vec(parameters.bias));
    let Some(scale_shift) = parameters.scale_shift else {
        return (weight.repeat(n), bias.repeat(n));
    };
    let scale_shift = to_f32_vec(&scale_shift.expand([n as i64, -1], false));
    let mut gains = Vec::with_capacity(n * c);
    let mut biases = Vec::with_capacity(n * c);
    for image in scale_shift.chunks_exact(2 * c) {
        let (scales, shifts) = image.split_at(c);
        for channel in 0..c {
            let scale = 1.0 + scales[channel];
            gains.push(weight[channel] * scale);
            biases.push(bias[channel] * scale + shifts[channel]);
        }
    }
    (gains, biases)
}

#[cfg(test)]
mod tests {
    use super::super::testing::draw;
    use super::*;
    use crate::comparison::relative_error;
    use tch::{Device, Kind};

    struct Sample {
        shape: [i64; 4],
        mean: f64,
        with_scale_shift: bool,
        activation: Activation,
    }

    fn in_double(x: &Tensor) -> Tensor {
        x.to_kind(Kind::Double)
    }

    /// libtorch's output in float64.
    fn by_libtorch(x: &Tensor, parameters: &GroupNormParameters) -> Tensor {
        let (weight, bias) = (in_double(parameters.weight), in_double(parameters.bias));
        let groups = parameters.groups as i64;
        let y = in_double(x).group_norm(groups, Some(weight), Some(bias), parameters.eps, false);
        let y = match parameters.scale_shift {
            Some(scale_shift) => {
                let parts = in_double(scale_shift)
                    .unsqueeze(-1)
                    .unsqueeze(-1)
                    .chunk(2, 1);
                y * (&parts[0] + 1.0) + &parts[1]
            }
            None => y,
        };
        if parameters.activation == Activation::Silu {
            y.silu()
        } else {
            y
        }
    }

    #[test]
    fn value_and_gradient_are_libtorchs() {
        tch::manual_seed(1);
        let (with_scale_shift, activation) = (true, Activation::Silu);
        for sample in [
            Sample {
                shape: [2, 32, 4, 4],
                mean: 0.0,
                with_scale_shift: false,
                activation,
            },
            Sample {
                shape: [3, 64, 9, 7],
                mean: 50.0,
                with_scale_shift,
                activation,
            },
            Sample {
                shape: [1, 96, 40, 40],
                mean: -3.0,
                with_scale_shift,
                activation: Activation::Identity,
            },
        ] {
            let [n, c, ..] = sample.shape;
            let (weight, bias, scale_shift) = (draw(&[c]), draw(&[c]), draw(&[n, 2 * c]));
            let parameters = GroupNormParameters {
                weight: &weight,
                bias: &bias,
                groups: 32,
                eps: 1e-5,
                scale_shift: sample.with_scale_shift.then_some(&scale_shift),
                activation: sample.activation,
            };
            let x = (draw(&sample.shape) + sample.mean).set_requires_grad(true);
            let want = by_libtorch(&x, &parameters);
            let g = draw(&sample.shape);
            let sum = (&want * &g).sum(Kind::Double);
            let want_gradient = Tensor::run_backward(&[sum], &[&x], false, false).remove(0);
            let pass = GroupNormPass::new(&x, &parameters);
            assert!(
                relative_error(&pass.forward(), &want) < 2e-5,
                "{:?}",
                sample.shape
            );
            let error = relative_error(&pass.backward(&g), &want_gradient);
            assert!(error < 2e-5, "{:?}", sample.shape);
        }
    }

    #[test]
    fn a_flat_image_stays_finite() {
        let options = (Kind::Float, Device::Cpu);
        let x = Tensor::full([1, 32, 4, 4], 3.0, options);
        let parameters = GroupNormParameters {
            weight: &Tensor::ones([32], options),
            bias: &Tensor::zeros([32], options),
            groups: 32,
            eps: 1e-5,
            scale_shift: None,
            activation: Activation::Silu,
        };
        let pass = GroupNormPass::new(&x, &parameters);
        // 3 / sqrt(1e-5) is 949; its last digit is some 6e-5.
        assert!(pass.forward().abs().max().double_value(&[]) < 2e-4);
        assert!(pass.backward(&x).isfinite().all().int64_value(&[]) == 1);
    }
}
