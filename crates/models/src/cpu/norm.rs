//! Group normalisation, scale, shift and SiLU in two passes over the memory, and the way back of their gradient.

use super::parallel::run;
use super::{Nhwc, Shared, View, floats};
use tch::Tensor;

/// Pixels that one thread sums at a time. Fixed, so that sums do not depend on the number of threads.
const STRIP: usize = 1024;

/// What a normalisation multiplies and adds, a channel, and how it groups.
pub struct Affine<'a> {
    pub weight: &'a Tensor,
    pub bias: &'a Tensor,
    pub groups: usize,
    pub eps: f64,
    /// `[n, 2 c]`: the result is multiplied by 1 plus the first half, and the second is added.
    pub scale_shift: Option<&'a Tensor>,
    /// SiLU behind it.
    pub silu: bool,
}

/// One normalisation in work, and what its gradient needs.
pub struct Normed {
    x: Nhwc,
    /// Mean and reciprocal deviation of each picture and channel's group, `[n, c]`.
    mean: Vec<f32>,
    rstd: Vec<f32>,
    /// What the normalised value is multiplied with, `[n, c]`.
    gain: Vec<f32>,
    /// All of it in one line: `x * factor + term`, `[n, c]` each.
    factor: Vec<f32>,
    term: Vec<f32>,
    groups: usize,
    silu: bool,
}

/// Picture, first pixel and pixels of a strip.
fn strip(index: usize, pixels: usize) -> (usize, usize, usize) {
    let strips = pixels.div_ceil(STRIP);
    let first = index % strips * STRIP;
    (index / strips, first, STRIP.min(pixels - first))
}

/// Sums two numbers a channel over each picture: `each` adds a strip's to its `[2, c]`.
fn sums(x: View, each: impl Fn(usize, usize, usize, &mut [f32], &mut [f32]) + Sync) -> Vec<f64> {
    let (pixels, c) = (x.h * x.w, x.c);
    let strips = pixels.div_ceil(STRIP);
    let mut parts = vec![0.0f32; x.n * strips * 2 * c];
    let shared = Shared::of(&mut parts);
    run(x.n * strips, |_, i| {
        let (n, first, count) = strip(i, pixels);
        // SAFETY: every strip has its own part.
        let (a, b) = unsafe { shared.part(i * 2 * c, 2 * c) }.split_at_mut(c);
        each(n, (n * pixels + first) * c, count, a, b);
    });
    let mut sums = vec![0.0; x.n * 2 * c];
    for (i, part) in parts.chunks_exact(2 * c).enumerate() {
        let sum = &mut sums[i / strips * 2 * c..][..2 * c];
        sum.iter_mut()
            .zip(part)
            .for_each(|(sum, part)| *sum += f64::from(*part));
    }
    sums
}

/// Mean over each group of `[n, c]` values that `of` gives, written to every channel of it.
fn over_groups(n: usize, c: usize, groups: usize, of: impl Fn(usize) -> f64) -> Vec<f64> {
    let width = c / groups;
    let mean =
        |group: usize| (group * width..(group + 1) * width).map(&of).sum::<f64>() / width as f64;
    let means: Vec<f64> = (0..n * groups).map(mean).collect();
    (0..n * c).map(|i| means[i / width]).collect()
}

impl Normed {
    /// Statistics of `x` `[n, c, h, w]`, float32 on the CPU.
    pub fn new(x: &Tensor, affine: &Affine) -> Self {
        let x = Nhwc::of(x);
        let view = x.view();
        let (n, c, pixels) = (x.n, x.c, x.h * x.w);
        // Sums around a value of the picture itself: the mean's square would cancel otherwise.
        let around = |picture: usize| &view.values[picture * pixels * c..][..c];
        let sums = sums(view, |picture, at, count, a, b| {
            // SAFETY: AVX2 and FMA were found (`super::takes`).
            unsafe { kernels::moments(&view.values[at..at + count * c], around(picture), a, b) };
        });
        let per = 1.0 / pixels as f64;
        let first = |i: usize| sums[i / c * 2 * c + i % c] * per;
        let mean = |i: usize| f64::from(around(i / c)[i % c]) + first(i);
        let means = over_groups(n, c, affine.groups, mean);
        let spread = |i: usize| {
            (sums[i / c * 2 * c + c + i % c] * per - first(i).powi(2)).max(0.0)
                + (mean(i) - means[i]).powi(2)
        };
        let variances = over_groups(n, c, affine.groups, spread);
        let rstd: Vec<f32> = variances
            .into_iter()
            .map(|v| (1.0 / (v + affine.eps).sqrt()) as f32)
            .collect();
        let mean: Vec<f32> = means.into_iter().map(|m| m as f32).collect();
        let (gain, offset) = gains(n, c, affine);
        let factor: Vec<f32> = gain.iter().zip(&rstd).map(|(g, r)| g * r).collect();
        let term = (0..n * c)
            .map(|i| offset[i] - mean[i] * factor[i])
            .collect();
        Self {
            mean,
            rstd,
            gain,
            factor,
            term,
            groups: affine.groups,
            silu: affine.silu,
            x,
        }
    }

    /// The normalised pictures, of `x`'s shape.
    pub fn forward(&self) -> Tensor {
        let x = self.x.view();
        let (pixels, c) = (x.h * x.w, x.c);
        let (factor, term, silu) = (&self.factor, &self.term, self.silu);
        let mut out = Nhwc::empty(x.n, x.h, x.w, c);
        let shared = out.shared();
        run(x.n * pixels.div_ceil(STRIP), |_, i| {
            let (n, first, count) = strip(i, pixels);
            let at = (n * pixels + first) * c;
            // SAFETY: every strip is one thread's; AVX2 and FMA were found.
            unsafe {
                let to = shared.part(at, count * c);
                kernels::apply(
                    &x.values[at..at + count * c],
                    &factor[n * c..][..c],
                    &term[n * c..][..c],
                    silu,
                    to,
                );
            }
        });
        out.into_tensor()
    }

    /// The gradient of `x` from that of the result.
    pub fn backward(&self, gradient: &Tensor) -> Tensor {
        let (x, g) = (self.x.view(), Nhwc::of(gradient));
        let g = g.view();
        let (pixels, c) = (x.h * x.w, x.c);
        let (factor, term, silu) = (&self.factor, &self.term, self.silu);
        let (gain, mean, rstd) = (&self.gain, &self.mean, &self.rstd);
        let mut out = Nhwc::empty(x.n, x.h, x.w, c);
        let shared = out.shared();
        let sums = sums(x, |n, at, count, a, b| {
            let (own, range) = (n * c..(n + 1) * c, at..at + count * c);
            let line = kernels::Line {
                factor: &factor[own.clone()],
                term: &term[own.clone()],
                gain: &gain[own.clone()],
            };
            let centre = kernels::Centre {
                mean: &mean[own.clone()],
                rstd: &rstd[own],
            };
            // SAFETY: every strip is one thread's; AVX2 and FMA were found.
            unsafe {
                let to = shared.part(at, count * c);
                kernels::through(
                    &x.values[range.clone()],
                    &g.values[range],
                    &line,
                    &centre,
                    silu,
                    to,
                    (a, b),
                );
            }
        });
        let per = 1.0 / pixels as f64;
        let over = |half: usize| {
            over_groups(x.n, c, self.groups, |i| {
                sums[i / c * 2 * c + half * c + i % c] * per
            })
        };
        let (plain, along) = (over(0), over(1));
        // rstd (d - mean(d) - x^ mean(d x^)), x^ = (x - mean) rstd, as rstd d + x * slope + rest.
        let slope: Vec<f32> = (0..x.n * c)
            .map(|i| (-along[i]) as f32 * rstd[i] * rstd[i])
            .collect();
        let rest: Vec<f32> = (0..x.n * c)
            .map(|i| -(plain[i] as f32) * rstd[i] - slope[i] * mean[i])
            .collect();
        run(x.n * pixels.div_ceil(STRIP), |_, i| {
            let (n, first, count) = strip(i, pixels);
            let (at, own) = ((n * pixels + first) * c, n * c..(n + 1) * c);
            // SAFETY: as above.
            unsafe {
                let to = shared.part(at, count * c);
                kernels::finish(
                    &x.values[at..at + count * c],
                    &rstd[own.clone()],
                    &slope[own.clone()],
                    &rest[own],
                    to,
                );
            }
        });
        out.into_tensor()
    }
}

/// Weight and bias with a picture's scale and shift, `[n, c]` each.
fn gains(n: usize, c: usize, affine: &Affine) -> (Vec<f32>, Vec<f32>) {
    let (weight, bias) = (floats(affine.weight), floats(affine.bias));
    let Some(scale_shift) = affine.scale_shift.map(floats) else {
        return (weight.repeat(n), bias.repeat(n));
    };
    let scale = |i: usize| 1.0 + scale_shift[i / c * 2 * c + i % c];
    let gain = (0..n * c).map(|i| weight[i % c] * scale(i)).collect();
    let offset = (0..n * c)
        .map(|i| bias[i % c] * scale(i) + scale_shift[i / c * 2 * c + c + i % c])
        .collect();
    (gain, offset)
}

/// Plain loops over eight channels at a time, which the compiler turns into AVX2.
mod kernels {
    const WIDE: usize = 8;
    type Eight = [f32; WIDE];

    /// How a value of `x` becomes the normalised one, and the gain in front of its derivative.
    pub struct Line<'a> {
        pub factor: &'a [f32],
        pub term: &'a [f32],
        pub gain: &'a [f32],
    }

    /// Statistics a channel.
    pub struct Centre<'a> {
        pub mean: &'a [f32],
        pub rstd: &'a [f32],
    }

    #[inline(always)]
    fn eight(values: &[f32], at: usize) -> Eight {
        values[at..at + WIDE].try_into().expect("eight values")
    }

    #[inline(always)]
    fn map(f: impl Fn(usize) -> f32) -> Eight {
        std::array::from_fn(f)
    }

    /// 1 / (1 + e^-x) to the last digits: e^r by its series for |r| <= ln 2 / 2, the rest in the exponent.
    #[inline(always)]
    fn sigmoid(x: f32) -> f32 {
        // Adding it leaves the rounded exponent in the last bits.
        const ROUND: f32 = 12_582_912.0;
        let x = (-x).clamp(-87.0, 87.0);
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        // ln 2 in two parts.
        let r = n.mul_add(-1.428_606_8e-6, n.mul_add(-0.693_145_75, x));
        let series = [
            1.0f32 / 5040.0,
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ];
        let e = series
            .into_iter()
            .reduce(|sum, next| sum.mul_add(r, next))
            .unwrap_or(1.0);
        let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
        1.0 / e.mul_add(power, 1.0)
    }

    /// Adds x - around and its square over pixels, a channel.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    pub fn moments(x: &[f32], around: &[f32], first: &mut [f32], second: &mut [f32]) {
        let c = around.len();
        for at in (0..c).step_by(WIDE) {
            let (centre, mut a, mut b) = (eight(around, at), [0.0; WIDE], [0.0; WIDE]);
            for pixel in x.chunks_exact(c) {
                let d = eight(pixel, at);
                let d = map(|i| d[i] - centre[i]);
                a = map(|i| a[i] + d[i]);
                b = map(|i| d[i].mul_add(d[i], b[i]));
            }
            first[at..at + WIDE].copy_from_slice(&a);
            second[at..at + WIDE].copy_from_slice(&b);
        }
    }

    /// `x * factor + term`, then SiLU.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    pub fn apply(x: &[f32], factor: &[f32], term: &[f32], silu: bool, to: &mut [f32]) {
        let c = factor.len();
        for (pixel, to) in x.chunks_exact(c).zip(to.chunks_exact_mut(c)) {
            for at in (0..c).step_by(WIDE) {
                let (x, f, t) = (eight(pixel, at), eight(factor, at), eight(term, at));
                let y = map(|i| x[i].mul_add(f[i], t[i]));
                let y = if silu {
                    map(|i| y[i] * sigmoid(y[i]))
                } else {
                    y
                };
                to[at..at + WIDE].copy_from_slice(&y);
            }
        }
    }

    /// The gradient of the normalised value times the gain into `to`; adds it, and it times the normalised value, a channel.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    pub fn through(
        x: &[f32],
        g: &[f32],
        line: &Line,
        centre: &Centre,
        silu: bool,
        to: &mut [f32],
        sums: (&mut [f32], &mut [f32]),
    ) {
        let c = line.factor.len();
        for at in (0..c).step_by(WIDE) {
            let (factor, term, gain) = (
                eight(line.factor, at),
                eight(line.term, at),
                eight(line.gain, at),
            );
            let (mean, rstd) = (eight(centre.mean, at), eight(centre.rstd, at));
            let (mut a, mut b) = ([0.0; WIDE], [0.0; WIDE]);
            for ((pixel, g), to) in x
                .chunks_exact(c)
                .zip(g.chunks_exact(c))
                .zip(to.chunks_exact_mut(c))
            {
                let (x, g) = (eight(pixel, at), eight(g, at));
                let y = map(|i| x[i].mul_add(factor[i], term[i]));
                let s = map(|i| sigmoid(y[i]));
                let slope = if silu {
                    map(|i| s[i] * (y[i] * (1.0 - s[i]) + 1.0))
                } else {
                    [1.0; WIDE]
                };
                let d = map(|i| g[i] * slope[i] * gain[i]);
                a = map(|i| a[i] + d[i]);
                b = map(|i| (d[i] * (x[i] - mean[i])).mul_add(rstd[i], b[i]));
                to[at..at + WIDE].copy_from_slice(&d);
            }
            sums.0[at..at + WIDE].copy_from_slice(&a);
            sums.1[at..at + WIDE].copy_from_slice(&b);
        }
    }

    /// `to * rstd + x * slope + rest`.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    pub fn finish(x: &[f32], rstd: &[f32], slope: &[f32], rest: &[f32], to: &mut [f32]) {
        let c = rstd.len();
        for (pixel, to) in x.chunks_exact(c).zip(to.chunks_exact_mut(c)) {
            for at in (0..c).step_by(WIDE) {
                let (x, d, r) = (eight(pixel, at), eight(to, at), eight(rstd, at));
                let (slope, rest) = (eight(slope, at), eight(rest, at));
                let y = map(|i| x[i].mul_add(slope[i], d[i].mul_add(r[i], rest[i])));
                to[at..at + WIDE].copy_from_slice(&y);
            }
        }
    }

    #[cfg(test)]
    #[test]
    fn the_sigmoid_is_right_everywhere() {
        for k in -1000..1000 {
            let x = k as f32 * 0.1;
            let want = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!(
                (f64::from(sigmoid(x)) / want - 1.0).abs() < 3e-7 || want < 1e-37,
                "{x}: {} {want}",
                sigmoid(x)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, error};
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn value_and_gradient_are_libtorchs() {
        tch::manual_seed(1);
        for (n, c, h, w, mean, scaled, silu) in [
            (2, 32, 4, 4, 0.0, false, true),
            (3, 64, 9, 7, 50.0, true, true),
            (1, 96, 40, 40, -3.0, true, false),
        ] {
            let (weight, bias, scale_shift) = (draw(&[c]), draw(&[c]), draw(&[n, 2 * c]));
            let x = (draw(&[n, c, h, w]) + mean).set_requires_grad(true);
            let parts = scale_shift
                .unsqueeze(-1)
                .unsqueeze(-1)
                .to_kind(Kind::Double)
                .chunk(2, 1);
            let y = x.to_kind(Kind::Double).group_norm(
                32,
                Some(weight.to_kind(Kind::Double)),
                Some(bias.to_kind(Kind::Double)),
                1e-5,
                false,
            );
            let y = if scaled {
                y * (&parts[0] + 1.0) + &parts[1]
            } else {
                y
            };
            let want = if silu { y.silu() } else { y };
            let g = draw(&[n, c, h, w]);
            let slope =
                Tensor::run_backward(&[(&want * &g).sum(Kind::Double)], &[&x], false, false)
                    .remove(0);
            let scale_shift = scaled.then_some(&scale_shift);
            let normed = Normed::new(
                &x,
                &Affine {
                    weight: &weight,
                    bias: &bias,
                    groups: 32,
                    eps: 1e-5,
                    scale_shift,
                    silu,
                },
            );
            assert!(error(&normed.forward(), &want) < 2e-5, "{n} {c} {h} {w}");
            assert!(
                error(&normed.backward(&g), &slope) < 2e-5,
                "{n} {c} {h} {w}"
            );
        }
    }

    #[test]
    fn a_flat_picture_stays_finite() {
        let x = Tensor::full([1, 32, 4, 4], 3.0, (Kind::Float, Device::Cpu));
        let (weight, bias) = (
            Tensor::ones([32], (Kind::Float, Device::Cpu)),
            Tensor::zeros([32], (Kind::Float, Device::Cpu)),
        );
        let normed = Normed::new(
            &x,
            &Affine {
                weight: &weight,
                bias: &bias,
                groups: 32,
                eps: 1e-5,
                scale_shift: None,
                silu: true,
            },
        );
        // 3 / sqrt(1e-5) is 949; its last digit is some 6e-5.
        assert!(normed.forward().abs().max().double_value(&[]) < 2e-4);
        assert!(normed.backward(&x).isfinite().all().int64_value(&[]) == 1);
    }
}
