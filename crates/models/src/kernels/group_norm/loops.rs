//! The inner loops of group normalisation over values `[pixels, c]`, `c` a multiple of eight.
//!
//! Each loop is plain Rust on arrays of eight floats, one per channel. With
//! `#[target_feature(enable = "avx2,fma")]` the compiler keeps such an array in one register and
//! turns [`map`] over it into single instructions; `mul_add` becomes FMA.

use super::Activation;

/// Channels that one register holds.
const LANES: usize = 8;
type Eight = [f32; LANES];

/// The numbers of one image's channels, `[c]` each (see [`super::GroupNormPass`]).
pub struct Channels<'a> {
    pub mean: &'a [f32],
    pub rstd: &'a [f32],
    pub gain: &'a [f32],
    pub factor: &'a [f32],
    pub offset: &'a [f32],
}

/// The eight values from index `at` on.
#[inline(always)]
fn eight(values: &[f32], at: usize) -> Eight {
    values[at..at + LANES].try_into().expect("eight values")
}

/// The array of `f` at the indices 0 to 7.
#[inline(always)]
fn map(f: impl Fn(usize) -> f32) -> Eight {
    std::array::from_fn(f)
}

/// `1 / (1 + exp(-x))` to the last digits, without branches. `exp(-x)` is split into `2^n * exp(r)`
/// with `|r| <= ln 2 / 2`; `exp(r)` is its Taylor series and `2^n` goes into the exponent's bits.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    // 1.5 * 2^23: at this size floats are whole numbers, so that adding it rounds to one, which
    // stands in the last bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let x = (-x).clamp(-87.0, 87.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // r = x - n ln 2, with ln 2 in two parts that together have more digits than one float.
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
    let exp_r = series
        .into_iter()
        .reduce(|sum, next| sum.mul_add(r, next))
        .unwrap_or(1.0);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    1.0 / exp_r.mul_add(power, 1.0)
}

/// Registers whose sums are taken side by side. An addition takes the processor some four cycles,
/// and the next one to the same sum waits for it; independent sums fill that time. Four registers
/// are also two whole lines of the cache.
const SIDE_BY_SIDE: usize = 4;

/// Sums `x - around` and its square over the pixels, per channel.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn moments(x: &[f32], around: &[f32], sum: &mut [f32], sum_of_squares: &mut [f32]) {
    let c = around.len();
    let mut at = 0;
    while at + SIDE_BY_SIDE * LANES <= c {
        moments_of::<SIDE_BY_SIDE>(x, around, at, sum, sum_of_squares);
        at += SIDE_BY_SIDE * LANES;
    }
    while at < c {
        moments_of::<1>(x, around, at, sum, sum_of_squares);
        at += LANES;
    }
}

/// The sums of [`moments`] for `N` registers of channels from channel `at` on.
#[inline(always)]
fn moments_of<const N: usize>(
    x: &[f32],
    around: &[f32],
    at: usize,
    sum: &mut [f32],
    sum_of_squares: &mut [f32],
) {
    let centre: [Eight; N] = std::array::from_fn(|k| eight(around, at + k * LANES));
    let (mut first, mut second) = ([[0.0; LANES]; N], [[0.0; LANES]; N]);
    for pixel in x.chunks_exact(around.len()) {
        let pixel = &pixel[at..at + N * LANES];
        for k in 0..N {
            let x = eight(pixel, k * LANES);
            let d = map(|i| x[i] - centre[k][i]);
            first[k] = map(|i| first[k][i] + d[i]);
            second[k] = map(|i| d[i].mul_add(d[i], second[k][i]));
        }
    }
    sum[at..at + N * LANES].copy_from_slice(first.as_flattened());
    sum_of_squares[at..at + N * LANES].copy_from_slice(second.as_flattened());
}

/// Writes `x * factor + offset`, then the activation of it.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn apply(x: &[f32], channels: &Channels, activation: Activation, to: &mut [f32]) {
    let (c, silu) = (channels.factor.len(), activation == Activation::Silu);
    for (pixel, to) in x.chunks_exact(c).zip(to.chunks_exact_mut(c)) {
        for at in (0..c).step_by(LANES) {
            let (factor, offset) = (eight(channels.factor, at), eight(channels.offset, at));
            let x = eight(pixel, at);
            let y = map(|i| x[i].mul_add(factor[i], offset[i]));
            let y = if silu {
                map(|i| y[i] * sigmoid(y[i]))
            } else {
                y
            };
            to[at..at + LANES].copy_from_slice(&y);
        }
    }
}

/// Takes `gradient`, that of the output, back to the normalised value `z`: writes `d`, and sums `d`
/// and `d * z` over the pixels, per channel.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn backward(
    x: &[f32],
    gradient: &[f32],
    channels: &Channels,
    activation: Activation,
    d: &mut [f32],
    sum_d: &mut [f32],
    sum_dz: &mut [f32],
) {
    let (c, silu) = (channels.factor.len(), activation == Activation::Silu);
    let mut at = 0;
    while at + 2 * LANES <= c {
        backward_of::<2>(x, gradient, channels, silu, at, d, sum_d, sum_dz);
        at += 2 * LANES;
    }
    while at < c {
        backward_of::<1>(x, gradient, channels, silu, at, d, sum_d, sum_dz);
        at += LANES;
    }
}

/// What [`backward`] writes for `N` registers of channels from channel `at` on.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one loop's body, in two widths")]
fn backward_of<const N: usize>(
    x: &[f32],
    gradient: &[f32],
    channels: &Channels,
    silu: bool,
    at: usize,
    d: &mut [f32],
    sum_d: &mut [f32],
    sum_dz: &mut [f32],
) {
    let c = channels.factor.len();
    let (mut first, mut second) = ([[0.0; LANES]; N], [[0.0; LANES]; N]);
    let pixels = x
        .chunks_exact(c)
        .zip(gradient.chunks_exact(c))
        .zip(d.chunks_exact_mut(c));
    for ((x, gradient), d) in pixels {
        for k in 0..N {
            let at = at + k * LANES;
            let (factor, offset) = (eight(channels.factor, at), eight(channels.offset, at));
            let (mean, rstd) = (eight(channels.mean, at), eight(channels.rstd, at));
            let gain = eight(channels.gain, at);
            let (x, g) = (eight(x, at), eight(gradient, at));
            let y = map(|i| x[i].mul_add(factor[i], offset[i]));
            let s = map(|i| sigmoid(y[i]));
            let slope = if silu {
                map(|i| s[i] * (y[i] * (1.0 - s[i]) + 1.0))
            } else {
                [1.0; LANES]
            };
            let back = map(|i| g[i] * slope[i] * gain[i]);
            first[k] = map(|i| first[k][i] + back[i]);
            second[k] = map(|i| (back[i] * (x[i] - mean[i])).mul_add(rstd[i], second[k][i]));
            d[at..at + LANES].copy_from_slice(&back);
        }
    }
    sum_d[at..at + N * LANES].copy_from_slice(first.as_flattened());
    sum_dz[at..at + N * LANES].copy_from_slice(second.as_flattened());
}

/// Turns `d` into the gradient with respect to `x`: `d * rstd + x * slope + rest`.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn subtract_means(x: &[f32], rstd: &[f32], slope: &[f32], rest: &[f32], d: &mut [f32]) {
    let c = rstd.len();
    for (pixel, d) in x.chunks_exact(c).zip(d.chunks_exact_mut(c)) {
        for at in (0..c).step_by(LANES) {
            let (x, back, rstd) = (eight(pixel, at), eight(d, at), eight(rstd, at));
            let (slope, rest) = (eight(slope, at), eight(rest, at));
            let y = map(|i| x[i].mul_add(slope[i], back[i].mul_add(rstd[i], rest[i])));
            d[at..at + LANES].copy_from_slice(&y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sigmoid;

    #[test]
    fn the_sigmoid_is_right_everywhere() {
        for k in -1000..1000 {
            let x = k as f32 * 0.1;
            let want = 1.0 / (1.0 + (-f64::from(x)).exp());
            let got = f64::from(sigmoid(x));
            assert!(
                (got / want - 1.0).abs() < 3e-7 || want < 1e-37,
                "{x}: {got} {want}"
            );
        }
    }
}
