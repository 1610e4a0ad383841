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

/// Sums `x - around` and its square over the pixels, per channel.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn moments(x: &[f32], around: &[f32], sum: &mut [f32], sum_of_squares: &mut [f32]) {
    let c = around.len();
    for at in (0..c).step_by(LANES) {
        let (centre, mut first, mut second) = (eight(around, at), [0.0; LANES], [0.0; LANES]);
        for pixel in x.chunks_exact(c) {
            let x = eight(pixel, at);
            let d = map(|i| x[i] - centre[i]);
            first = map(|i| first[i] + d[i]);
            second = map(|i| d[i].mul_add(d[i], second[i]));
        }
        sum[at..at + LANES].copy_from_slice(&first);
        sum_of_squares[at..at + LANES].copy_from_slice(&second);
    }
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
    for at in (0..c).step_by(LANES) {
        let (factor, offset) = (eight(channels.factor, at), eight(channels.offset, at));
        let (mean, rstd) = (eight(channels.mean, at), eight(channels.rstd, at));
        let gain = eight(channels.gain, at);
        let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
        let pixels = x
            .chunks_exact(c)
            .zip(gradient.chunks_exact(c))
            .zip(d.chunks_exact_mut(c));
        for ((x, gradient), d) in pixels {
            let (x, g) = (eight(x, at), eight(gradient, at));
            let y = map(|i| x[i].mul_add(factor[i], offset[i]));
            let s = map(|i| sigmoid(y[i]));
            let slope = if silu {
                map(|i| s[i] * (y[i] * (1.0 - s[i]) + 1.0))
            } else {
                [1.0; LANES]
            };
            let back = map(|i| g[i] * slope[i] * gain[i]);
            first = map(|i| first[i] + back[i]);
            second = map(|i| (back[i] * (x[i] - mean[i])).mul_add(rstd[i], second[i]));
            d[at..at + LANES].copy_from_slice(&back);
        }
        sum_d[at..at + LANES].copy_from_slice(&first);
        sum_dz[at..at + LANES].copy_from_slice(&second);
    }
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
