//! The three steps of the convolution in AVX2 and FMA instructions.
//!
//! `__m256` is a register of eight floats, here eight channels. The instructions, by name:
//! `loadu`/`storeu` read and write eight floats at any address, `set1(a)` fills a register with
//! `a`,
//! `fmadd(a, b, c)` is `a * b + c` and `fnmadd(a, b, c)` is `c - a * b`. All but `loadu` and
//! `storeu`, which take pointers, are safe inside functions with `#[target_feature]`.

use super::{BLOCK_CHANNELS, BLOCK_TILES, POINTS, TILE_IN, TILE_OUT};
use std::arch::x86_64::{
    __m256, _mm256_add_ps as add, _mm256_fmadd_ps as fmadd, _mm256_fnmadd_ps as fnmadd,
    _mm256_loadu_ps as loadu, _mm256_set1_ps as set1, _mm256_setzero_ps as zero,
    _mm256_storeu_ps as storeu, _mm256_sub_ps as sub,
};

/// `B^T d`: the six values of a line to six points.
#[target_feature(enable = "avx2,fma")]
fn transform_input_line(d: [__m256; TILE_IN]) -> [__m256; TILE_IN] {
    let (two, four, five) = (set1(2.0), set1(4.0), set1(5.0));
    let even = fnmadd(four, d[2], d[4]);
    let odd = fnmadd(four, d[1], d[3]);
    let even_difference = sub(d[4], d[2]);
    let odd_difference = sub(d[3], d[1]);
    [
        fmadd(four, d[0], fnmadd(five, d[2], d[4])),
        add(even, odd),
        sub(even, odd),
        fmadd(two, odd_difference, even_difference),
        fnmadd(two, odd_difference, even_difference),
        fmadd(four, d[1], fnmadd(five, d[3], d[5])),
    ]
}

/// `A^T m`: six points to the four values of a line.
#[target_feature(enable = "avx2,fma")]
fn transform_output_line(m: [__m256; TILE_IN]) -> [__m256; TILE_OUT] {
    let (two, four, eight) = (set1(2.0), set1(4.0), set1(8.0));
    let (sum_12, difference_12) = (add(m[1], m[2]), sub(m[1], m[2]));
    let (sum_34, difference_34) = (add(m[3], m[4]), sub(m[3], m[4]));
    [
        add(m[0], add(sum_12, sum_34)),
        fmadd(two, difference_34, difference_12),
        fmadd(four, sum_34, sum_12),
        add(fmadd(eight, difference_34, difference_12), m[5]),
    ]
}

/// `B^T d B`: a tile's 36 pixels of `channels` values each to its 36 points, which are written
/// `stride` apart. The columns are transformed first, then the rows of that.
#[target_feature(enable = "avx2,fma")]
pub fn transform_input(
    pixels: &[&[f32]; POINTS],
    channels: usize,
    points: &mut [f32],
    stride: usize,
) {
    assert!(channels.is_multiple_of(8) && pixels.iter().all(|p| p.len() == channels));
    assert!(points.len() >= (POINTS - 1) * stride + channels);
    for c in (0..channels).step_by(8) {
        let mut rows = [[zero(); TILE_IN]; TILE_IN];
        for column in 0..TILE_IN {
            // SAFETY: every pixel has eight values from `c` on, by the first assertion.
            let line = std::array::from_fn(|row| unsafe {
                loadu(pixels[row * TILE_IN + column].as_ptr().add(c))
            });
            for (row, value) in rows.iter_mut().zip(transform_input_line(line)) {
                row[column] = value;
            }
        }
        for (a, row) in rows.into_iter().enumerate() {
            for (b, value) in transform_input_line(row).into_iter().enumerate() {
                let at = (a * TILE_IN + b) * stride + c;
                // SAFETY: the eight values from `at` on lie in `points`, by the second assertion.
                unsafe { storeu(points.as_mut_ptr().add(at), value) };
            }
        }
    }
}

/// `A^T m A`: 36 points of 16 channels, `stride` apart, to 4 x 4 pixels, plus a bias.
#[target_feature(enable = "avx2,fma")]
pub fn transform_output(
    points: &[f32],
    stride: usize,
    bias: &[f32],
    pixels: &mut [[f32; BLOCK_CHANNELS]; TILE_OUT * TILE_OUT],
) {
    assert!(points.len() >= (POINTS - 1) * stride + BLOCK_CHANNELS);
    assert!(bias.len() == BLOCK_CHANNELS);
    for c in [0, 8] {
        let mut rows = [[zero(); TILE_IN]; TILE_OUT];
        for column in 0..TILE_IN {
            // SAFETY: eight of the 16 values of each point lie in `points`, by the first assertion.
            let line = std::array::from_fn(|row| unsafe {
                loadu(points.as_ptr().add((row * TILE_IN + column) * stride + c))
            });
            for (row, value) in rows.iter_mut().zip(transform_output_line(line)) {
                row[column] = value;
            }
        }
        // SAFETY: eight of 16 values, by the second assertion.
        let bias = unsafe { loadu(bias.as_ptr().add(c)) };
        for (a, row) in rows.into_iter().enumerate() {
            for (b, value) in transform_output_line(row).into_iter().enumerate() {
                let pixel = &mut pixels[a * TILE_OUT + b];
                // SAFETY: eight of the pixel's 16 values.
                unsafe { storeu(pixel.as_mut_ptr().add(c), add(value, bias)) };
            }
        }
    }
}

/// Writes a pixel's 16 values, with `residual` added where there is one.
#[target_feature(enable = "avx2,fma")]
pub fn write_pixel(values: &[f32; BLOCK_CHANNELS], residual: Option<&[f32]>, to: &mut [f32]) {
    assert!(to.len() == BLOCK_CHANNELS && residual.is_none_or(|r| r.len() == BLOCK_CHANNELS));
    for c in [0, 8] {
        // SAFETY: eight of 16 values each, by the assertion.
        unsafe {
            let value = loadu(values.as_ptr().add(c));
            let value = match residual {
                Some(residual) => add(value, loadu(residual.as_ptr().add(c))),
                None => value,
            };
            storeu(to.as_mut_ptr().add(c), value);
        }
    }
}

/// `M = V x U` at one point: `v` `[rows, inputs]` times `filter` `[outputs / 16, inputs, 16]` into
/// `m` `[rows, outputs]`. The rows are a multiple of six.
///
/// A block of 6 rows and 16 outputs stays in twelve registers while the loop goes over the inputs;
/// each step loads 16 filter values once and uses them for six rows.
#[target_feature(enable = "avx2,fma")]
pub fn multiply(v: &[f32], filter: &[f32], m: &mut [f32], inputs: usize, outputs: usize) {
    let rows = v.len() / inputs;
    assert!(rows.is_multiple_of(BLOCK_TILES) && v.len() == rows * inputs);
    assert!(outputs.is_multiple_of(BLOCK_CHANNELS) && m.len() == rows * outputs);
    assert!(filter.len() == inputs * outputs);
    let panels = filter.chunks_exact(inputs * BLOCK_CHANNELS);
    for (panel, first_output) in panels.zip((0..outputs).step_by(BLOCK_CHANNELS)) {
        for first_row in (0..rows).step_by(BLOCK_TILES) {
            let mut sums = [[zero(); 2]; BLOCK_TILES];
            // SAFETY: six rows from `first_row` on, all inputs, and 16 outputs from `first_output`
            // on lie inside the slices, by the assertions.
            unsafe {
                let block = v.as_ptr().add(first_row * inputs);
                for i in 0..inputs {
                    let left = loadu(panel.as_ptr().add(i * BLOCK_CHANNELS));
                    let right = loadu(panel.as_ptr().add(i * BLOCK_CHANNELS + 8));
                    for (r, sum) in sums.iter_mut().enumerate() {
                        let value = set1(*block.add(r * inputs + i));
                        sum[0] = fmadd(value, left, sum[0]);
                        sum[1] = fmadd(value, right, sum[1]);
                    }
                }
                for (r, sum) in sums.into_iter().enumerate() {
                    let to = m.as_mut_ptr().add((first_row + r) * outputs + first_output);
                    storeu(to, sum[0]);
                    storeu(to.add(8), sum[1]);
                }
            }
        }
    }
}
