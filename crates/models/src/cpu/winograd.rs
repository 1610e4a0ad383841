//! 3x3 convolution, stride 1, padding 0 or 1, by Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray 2016): 36 products for
//! 16 outputs in the place of 144. Rounds to some 1e-5 of the largest output, direct convolution to some 1e-6.

use super::parallel::{run, threads};
use super::{Nhwc, Shared, View, floats};
use tch::Tensor;

/// Side of an input tile, and of the outputs it gives.
const IN: usize = 6;
const OUT: usize = 4;
const POINTS: usize = IN * IN;

/// Tiles and output channels one inner product step keeps in registers.
const ROWS: usize = 6;
const COLUMNS: usize = 16;

/// Floats of transformed tiles a thread keeps at a time (inputs and outputs together).
const ROOM: usize = 1 << 18;

/// Most weights (inputs times outputs) that are worth keeping in transformed form, which is four times as large: the layers
/// beyond are those of few pixels, whose direct convolution costs little.
const MOST_WEIGHTS: i64 = 1 << 15;

/// Transforms a 3-tap filter to 6 points.
const G: [[f64; 3]; IN] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// A transformed filter: `[36, outputs / 16, inputs, 16]`.
#[derive(Debug)]
pub struct Filter {
    values: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl Filter {
    /// Of a weight `[outputs, inputs, 3, 3]`; none where direct convolution is the better way.
    pub fn new(weight: &Tensor) -> Option<Self> {
        let (outputs, inputs, height, width) = weight.size4().ok()?;
        let fits = (height, width) == (3, 3)
            && inputs % 8 == 0
            && outputs % COLUMNS as i64 == 0
            && inputs * outputs <= MOST_WEIGHTS;
        fits.then(|| Self::transformed(&floats(weight), outputs as usize, inputs as usize))
    }

    /// The filter that takes a convolution's output gradient to its input gradient.
    pub fn adjoint(weight: &Tensor) -> Option<Self> {
        Self::new(&weight.transpose(0, 1).flip([2, 3]))
    }

    fn transformed(weight: &[f32], outputs: usize, inputs: usize) -> Self {
        let mut values: Vec<f32> = Vec::new();
        let size = POINTS * outputs * inputs;
        // An allocation that simply fails would end the process; this one can be met by taking fewer pictures at once.
        assert!(
            values.try_reserve_exact(size).is_ok(),
            "out of memory: {size} numbers of a transformed filter"
        );
        values.resize(size, 0.0);
        for o in 0..outputs {
            for i in 0..inputs {
                let taps = &weight[(o * inputs + i) * 9..][..9];
                for (a, row) in G.iter().enumerate() {
                    for (b, column) in G.iter().enumerate() {
                        let sum: f64 = (0..9)
                            .map(|k| row[k / 3] * column[k % 3] * f64::from(taps[k]))
                            .sum();
                        let panel = (a * IN + b) * (outputs / COLUMNS) + o / COLUMNS;
                        values[(panel * inputs + i) * COLUMNS + o % COLUMNS] = sum as f32;
                    }
                }
            }
        }
        Self {
            values,
            inputs,
            outputs,
        }
    }

    /// `x` `[n, inputs, h, w]` to `[n, outputs, h, w]` (two less each way without padding), plus a bias `[outputs]`, plus
    /// `add` of the output's shape.
    pub fn convolve(
        &self,
        x: &Tensor,
        padding: usize,
        bias: Option<&Tensor>,
        add: Option<&Tensor>,
    ) -> Tensor {
        let x = Nhwc::of(x);
        assert_eq!(x.c, self.inputs, "channels");
        let size = [x.h + 2 * padding - 2, x.w + 2 * padding - 2];
        let bias = bias.map_or_else(|| vec![0.0; self.outputs], floats);
        let add = add.map(Nhwc::of);
        let mut out = Nhwc::empty(x.n, size[0], size[1], self.outputs);
        let shared = out.shared();
        let add = add.as_ref().map(|a| a.view().values);
        let job = Job {
            filter: self,
            zeros: vec![0.0; self.inputs],
            x: x.view(),
            padding,
            size,
            bias: &bias,
            add,
        };
        let (tiles, chunk) = (job.tiles(), job.chunk());
        // From libtorch's allocator, which can say that there is no room.
        let each = POINTS * chunk * (self.inputs + self.outputs);
        let mut buffers = Nhwc::empty(1, 1, threads(), each);
        let buffers = buffers.shared();
        run(tiles.div_ceil(chunk), |thread, i| {
            // SAFETY: every thread has its own number.
            let buffer = unsafe { buffers.part(thread * each, each) };
            job.tiles_from(i * chunk, chunk.min(tiles - i * chunk), buffer, shared);
        });
        out.into_tensor()
    }
}

/// One convolution in work.
struct Job<'a> {
    filter: &'a Filter,
    zeros: Vec<f32>,
    x: View<'a>,
    padding: usize,
    /// Rows and columns of the output.
    size: [usize; 2],
    bias: &'a [f32],
    add: Option<&'a [f32]>,
}

impl Job<'_> {
    fn across(&self) -> (usize, usize) {
        (self.size[0].div_ceil(OUT), self.size[1].div_ceil(OUT))
    }

    fn tiles(&self) -> usize {
        let (down, right) = self.across();
        self.x.n * down * right
    }

    /// Tiles a thread takes at a time: what fits the cache, shared out evenly.
    fn chunk(&self) -> usize {
        let most =
            (ROOM / (POINTS * (self.filter.inputs + self.filter.outputs))).clamp(2 * ROWS, 96);
        most.min(self.tiles().div_ceil(threads()))
            .next_multiple_of(ROWS)
    }

    /// Picture, row and column of a tile's first output.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (down, right) = self.across();
        (
            tile / (down * right),
            tile / right % down * OUT,
            tile % right * OUT,
        )
    }

    #[cfg(target_arch = "x86_64")]
    fn tiles_from(&self, first: usize, count: usize, buffer: &mut [f32], out: Shared) {
        let rows = count.next_multiple_of(ROWS);
        let (inputs, outputs) = (self.filter.inputs, self.filter.outputs);
        let (v, rest) = buffer.split_at_mut(POINTS * rows * inputs);
        let m = &mut rest[..POINTS * rows * outputs];
        for t in 0..count {
            // SAFETY: AVX2 and FMA were found (`super::takes`).
            unsafe {
                avx2::transform_in(
                    &self.corners(first + t),
                    inputs,
                    &mut v[t * inputs..],
                    rows * inputs,
                )
            };
        }
        for p in 0..POINTS {
            let filter = &self.filter.values[p * inputs * outputs..][..inputs * outputs];
            let (v, m) = (
                &v[p * rows * inputs..][..rows * inputs],
                &mut m[p * rows * outputs..][..rows * outputs],
            );
            // SAFETY: as above.
            unsafe { avx2::product(v, filter, m, inputs, outputs) };
        }
        for t in 0..count {
            self.write(first + t, &m[t * outputs..], rows * outputs, out);
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn tiles_from(&self, _: usize, _: usize, _: &mut [f32], _: Shared) {
        unreachable!("not available here")
    }

    /// The 36 input pixels of a tile; those outside the picture are zeros.
    fn corners(&self, tile: usize) -> [&[f32]; POINTS] {
        let (n, top, left) = self.place(tile);
        let (x, padding) = (self.x, self.padding);
        std::array::from_fn(|k| {
            let (row, column) = (top + k / IN, left + k % IN);
            // Counted from the padding's first row and column.
            let inside = |at: usize, size: usize| (padding..size + padding).contains(&at);
            if !inside(row, x.h) || !inside(column, x.w) {
                return &self.zeros[..];
            }
            &x.values[((n * x.h + row - padding) * x.w + column - padding) * x.c..][..x.c]
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn write(&self, tile: usize, m: &[f32], stride: usize, out: Shared) {
        let (n, top, left) = self.place(tile);
        let ([height, width], outputs) = (self.size, self.filter.outputs);
        let mut columns = [[0.0f32; COLUMNS]; OUT * OUT];
        for o in (0..outputs).step_by(COLUMNS) {
            // SAFETY: AVX2 and FMA were found (`super::takes`).
            unsafe {
                avx2::transform_out(&m[o..], stride, &self.bias[o..o + COLUMNS], &mut columns)
            };
            for (k, values) in columns.iter().enumerate() {
                let (row, column) = (top + k / OUT, left + k % OUT);
                if row >= height || column >= width {
                    continue;
                }
                let at = ((n * height + row) * width + column) * outputs + o;
                // SAFETY: every tile belongs to one thread.
                let to = unsafe { out.part(at, COLUMNS) };
                match self.add {
                    Some(add) => to
                        .iter_mut()
                        .zip(values)
                        .zip(&add[at..at + COLUMNS])
                        .for_each(|((to, v), a)| *to = v + a),
                    None => to.copy_from_slice(values),
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{COLUMNS, IN, OUT, POINTS, ROWS};
    use std::arch::x86_64::{
        __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_set1_ps,
        _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps,
    };

    /// B^T d: six values of one line to six points.
    #[target_feature(enable = "avx2,fma")]
    fn line_in(d: [__m256; IN]) -> [__m256; IN] {
        let (two, four, five) = (
            _mm256_set1_ps(2.0),
            _mm256_set1_ps(4.0),
            _mm256_set1_ps(5.0),
        );
        let (a, b) = (
            _mm256_fnmadd_ps(four, d[2], d[4]),
            _mm256_fnmadd_ps(four, d[1], d[3]),
        );
        let (c, e) = (_mm256_sub_ps(d[4], d[2]), _mm256_sub_ps(d[3], d[1]));
        [
            _mm256_fmadd_ps(four, d[0], _mm256_fnmadd_ps(five, d[2], d[4])),
            _mm256_add_ps(a, b),
            _mm256_sub_ps(a, b),
            _mm256_fmadd_ps(two, e, c),
            _mm256_fnmadd_ps(two, e, c),
            _mm256_fmadd_ps(four, d[1], _mm256_fnmadd_ps(five, d[3], d[5])),
        ]
    }

    /// A^T m: six points to four values of one line.
    #[target_feature(enable = "avx2,fma")]
    fn line_out(m: [__m256; IN]) -> [__m256; OUT] {
        let (two, four, eight) = (
            _mm256_set1_ps(2.0),
            _mm256_set1_ps(4.0),
            _mm256_set1_ps(8.0),
        );
        let (s, d) = (_mm256_add_ps(m[1], m[2]), _mm256_sub_ps(m[1], m[2]));
        let (u, e) = (_mm256_add_ps(m[3], m[4]), _mm256_sub_ps(m[3], m[4]));
        [
            _mm256_add_ps(m[0], _mm256_add_ps(s, u)),
            _mm256_fmadd_ps(two, e, d),
            _mm256_fmadd_ps(four, u, s),
            _mm256_add_ps(_mm256_fmadd_ps(eight, e, d), m[5]),
        ]
    }

    /// A tile's 36 pixels of `channels` each to 36 points, `stride` apart in `to`.
    #[target_feature(enable = "avx2,fma")]
    pub fn transform_in(pixels: &[&[f32]; POINTS], channels: usize, to: &mut [f32], stride: usize) {
        assert!(
            channels.is_multiple_of(8)
                && pixels.iter().all(|p| p.len() == channels)
                && to.len() >= (POINTS - 1) * stride + channels
        );
        for c in (0..channels).step_by(8) {
            let mut rows = [[_mm256_setzero_ps(); IN]; IN];
            for column in 0..IN {
                // SAFETY: eight values from `c` on lie inside each pixel by the line above.
                let d = std::array::from_fn(|row| unsafe {
                    _mm256_loadu_ps(pixels[row * IN + column].as_ptr().add(c))
                });
                line_in(d)
                    .into_iter()
                    .zip(&mut rows)
                    .for_each(|(value, row)| row[column] = value);
            }
            for (a, row) in rows.into_iter().enumerate() {
                for (b, value) in line_in(row).into_iter().enumerate() {
                    // SAFETY: inside `to` by the line above.
                    unsafe {
                        _mm256_storeu_ps(to.as_mut_ptr().add((a * IN + b) * stride + c), value)
                    };
                }
            }
        }
    }

    /// 36 points, `stride` apart, of 16 channels to 4 x 4 pixels plus a bias.
    #[target_feature(enable = "avx2,fma")]
    pub fn transform_out(
        points: &[f32],
        stride: usize,
        bias: &[f32],
        to: &mut [[f32; COLUMNS]; OUT * OUT],
    ) {
        assert!(points.len() >= (POINTS - 1) * stride + COLUMNS && bias.len() == COLUMNS);
        for c in [0, 8] {
            let mut rows = [[_mm256_setzero_ps(); IN]; OUT];
            for column in 0..IN {
                // SAFETY: inside `points` by the line above.
                let m = std::array::from_fn(|row| unsafe {
                    _mm256_loadu_ps(points.as_ptr().add((row * IN + column) * stride + c))
                });
                line_out(m)
                    .into_iter()
                    .zip(&mut rows)
                    .for_each(|(value, row)| row[column] = value);
            }
            // SAFETY: 16 values by the line above.
            let bias = unsafe { _mm256_loadu_ps(bias.as_ptr().add(c)) };
            for (a, row) in rows.into_iter().enumerate() {
                for (b, value) in line_out(row).into_iter().enumerate() {
                    // SAFETY: eight of 16 values.
                    unsafe {
                        _mm256_storeu_ps(
                            to[a * OUT + b].as_mut_ptr().add(c),
                            _mm256_add_ps(value, bias),
                        )
                    };
                }
            }
        }
    }

    /// `v` `[rows, inputs]` times `filter` `[outputs / 16, inputs, 16]` into `m` `[rows, outputs]`; rows in sixes.
    #[target_feature(enable = "avx2,fma")]
    pub fn product(v: &[f32], filter: &[f32], m: &mut [f32], inputs: usize, outputs: usize) {
        let rows = v.len() / inputs;
        assert!(
            rows.is_multiple_of(ROWS)
                && v.len() == rows * inputs
                && m.len() == rows * outputs
                && filter.len() == inputs * outputs
        );
        for (panel, o) in filter
            .chunks_exact(inputs * COLUMNS)
            .zip((0..outputs).step_by(COLUMNS))
        {
            for t in (0..rows).step_by(ROWS) {
                let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
                // SAFETY: rows t to t + 6, all inputs and 16 outputs from `o` on lie inside by the line above.
                unsafe {
                    let from = v.as_ptr().add(t * inputs);
                    for i in 0..inputs {
                        let (left, right) = (
                            _mm256_loadu_ps(panel.as_ptr().add(i * COLUMNS)),
                            _mm256_loadu_ps(panel.as_ptr().add(i * COLUMNS + 8)),
                        );
                        for (r, sum) in sums.iter_mut().enumerate() {
                            let value = _mm256_set1_ps(*from.add(r * inputs + i));
                            sum[0] = _mm256_fmadd_ps(value, left, sum[0]);
                            sum[1] = _mm256_fmadd_ps(value, right, sum[1]);
                        }
                    }
                    for (r, sum) in sums.into_iter().enumerate() {
                        let to = m.as_mut_ptr().add((t + r) * outputs + o);
                        _mm256_storeu_ps(to, sum[0]);
                        _mm256_storeu_ps(to.add(8), sum[1]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{draw, error};
    use super::*;
    use tch::Kind;

    #[test]
    fn it_is_convolution_at_every_size() {
        tch::manual_seed(1);
        for (n, inputs, outputs, h, w) in [
            (1, 8, 16, 1, 1),
            (2, 16, 16, 4, 4),
            (3, 32, 64, 7, 9),
            (2, 96, 32, 32, 32),
            (1, 128, 128, 8, 8),
        ] {
            let (x, weight, bias) = (
                draw(&[n, inputs, h, w]),
                draw(&[outputs, inputs, 3, 3]),
                draw(&[outputs]),
            );
            let add = draw(&[n, outputs, h, w]);
            let exact = |t: &Tensor| t.to_kind(Kind::Double);
            let plain = exact(&x).conv2d(
                &exact(&weight),
                Some(exact(&bias)),
                [1, 1],
                [1, 1],
                [1, 1],
                1,
            );
            let filter = Filter::new(&weight).unwrap();
            assert!(
                error(&filter.convolve(&x, 1, Some(&bias), None), &plain) < 3e-5,
                "{n} {inputs} {outputs} {h} {w}"
            );
            assert!(
                error(
                    &filter.convolve(&x, 1, Some(&bias), Some(&add)),
                    &(plain + exact(&add))
                ) < 3e-5,
                "{n} {inputs} {outputs} {h} {w}"
            );
        }
        let (x, weight) = (draw(&[2, 16, 9, 12]), draw(&[16, 16, 3, 3]));
        let plain = x.conv2d(&weight, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1);
        assert!(
            error(
                &Filter::new(&weight).unwrap().convolve(&x, 0, None, None),
                &plain
            ) < 3e-5
        );
    }

    #[test]
    fn the_adjoint_gives_the_input_gradient() {
        tch::manual_seed(2);
        let (x, weight, g) = (
            draw(&[2, 32, 8, 8]).set_requires_grad(true),
            draw(&[16, 32, 3, 3]),
            draw(&[2, 16, 8, 8]),
        );
        let out = x.conv2d(&weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1);
        let want =
            Tensor::run_backward(&[(out * &g).sum(Kind::Float)], &[&x], false, false).remove(0);
        assert!(
            error(
                &Filter::adjoint(&weight)
                    .unwrap()
                    .convolve(&g, 1, None, None),
                &want
            ) < 3e-5
        );
    }

    #[test]
    fn pictures_do_not_change_each_other_and_threads_change_nothing() {
        tch::manual_seed(3);
        let (x, filter) = (
            draw(&[7, 32, 8, 8]),
            Filter::new(&draw(&[32, 32, 3, 3])).unwrap(),
        );
        let whole = filter.convolve(&x, 1, None, None);
        let alone: Vec<Tensor> = (0..7)
            .map(|i| filter.convolve(&x.narrow(0, i, 1), 1, None, None))
            .collect();
        assert!(whole.equal(&Tensor::cat(&alone, 0)));
    }

    #[test]
    fn what_does_not_pay_is_left_to_libtorch() {
        for shape in [
            [16, 3, 3, 3],
            [3, 16, 3, 3],
            [16, 16, 1, 1],
            [512, 512, 3, 3],
        ] {
            assert!(Filter::new(&draw(&shape)).is_none(), "{shape:?}");
        }
    }
}
