//! 3x3 convolution with stride 1 and padding 0 or 1 by Winograd's minimal filtering F(4x4, 3x3)
//! (Lavin & Gray 2016, arXiv:1509.09308): 36 products for 16 outputs in the place of 144. It rounds
//! to some 1e-5 of the largest output, direct convolution to some 1e-6.
//!
//! The output is cut into tiles of 4x4 pixels; each comes from the 6x6 input pixels around it. With
//! the paper's constant matrices `B`, `G` and `A`, the tile of one input channel `d` (6x6), the
//! filter `g` (3x3) between it and an output channel, and `.` for the product element by element,
//!
//! ```text
//! output tile (4x4) = sum over input channels of  A^T [ (G g G^T) . (B^T d B) ] A
//!                                                        U           V
//! ```
//!
//! `U` has 36 numbers ("points") per filter and is computed once, in [`Filter`]. `V` has 36 points
//! per tile and input channel. As `A` does not depend on the input channel, the sum can be taken
//! before it: at each of the 36 points, `M = V x U` is a matrix product, tiles by input channels
//! times input channels by output channels. So a chunk of tiles takes three steps: transform the
//! inputs (`V`), 36 matrix products (`M`), transform the outputs (`A^T M A`). Multiplications with
//! the constants in `A` and `B` are few, and the matrix products do the work.

#[cfg(target_arch = "x86_64")]
mod avx2;

use super::nhwc::{DisjointWriter, NhwcBatch, NhwcView};
use super::parallel::{max_threads, parallel_for};
use super::to_f32_vec;
use tch::Tensor;

/// Side of an input tile.
const TILE_IN: usize = 6;
/// Side of the output tile that it gives.
const TILE_OUT: usize = 4;
/// Numbers of a transformed tile or filter.
const POINTS: usize = TILE_IN * TILE_IN;

/// Tiles by output channels whose sums the matrix product keeps in registers at a time: 6 x 16
/// floats are 12 of the 16 registers, which leaves two for the filter and one for the input.
const BLOCK_TILES: usize = 6;
const BLOCK_CHANNELS: usize = 16;

/// The most floats in a thread's buffer for `V` and `M` together, so that it stays in its cache.
const BUFFER_FLOATS: usize = 1 << 18;

/// Floats between the last value of a point and the first of the next, one line of the cache. The
/// transforms touch all points of a tile at once; without the gap they lie a multiple of 4,096
/// bytes apart in most layers, for which the first cache has no more than eight places.
const GAP_FLOATS: usize = 16;

/// The most weights (inputs times outputs) that are worth keeping in transformed form, which is
/// four times as large. Layers beyond have few pixels, so that their direct convolution costs
/// little.
const MAX_WEIGHTS: i64 = 1 << 15;

/// The paper's `G`, which takes three filter taps in a line to six points.
const G: [[f64; 3]; TILE_IN] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// The transformed weight `U` of a layer.
#[derive(Debug)]
pub(crate) struct Filter {
    /// `[36, outputs / 16, inputs, 16]`: the order in which the matrix product reads it.
    values: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl Filter {
    /// Transforms a weight `[outputs, inputs, 3, 3]`. `None` for layers that direct convolution
    /// serves better, or whose channels do not fill registers.
    pub fn from_weight(weight: &Tensor) -> Option<Self> {
        let (outputs, inputs, height, width) = weight.size4().ok()?;
        let fills_registers = inputs % 8 == 0 && outputs % BLOCK_CHANNELS as i64 == 0;
        if (height, width) != (3, 3) || !fills_registers || inputs * outputs > MAX_WEIGHTS {
            return None;
        }
        Some(Self::transform(
            &to_f32_vec(weight),
            outputs as usize,
            inputs as usize,
        ))
    }

    /// The filter whose convolution takes the gradient of the output of a convolution with `weight`
    /// to that of its input: the same weight with channels exchanged and both axes reversed.
    pub fn from_adjoint(weight: &Tensor) -> Option<Self> {
        Self::from_weight(&weight.transpose(0, 1).flip([2, 3]))
    }

    fn transform(weight: &[f32], outputs: usize, inputs: usize) -> Self {
        let mut values: Vec<f32> = Vec::new();
        let size = POINTS * outputs * inputs;
        // An ordinary allocation that fails ends the process. A panic with this text is caught, and
        // met by computing on fewer images at once.
        let has_room = values.try_reserve_exact(size).is_ok();
        assert!(
            has_room,
            "out of memory: {size} numbers of a transformed filter"
        );
        values.resize(size, 0.0);
        for o in 0..outputs {
            for i in 0..inputs {
                let taps = &weight[(o * inputs + i) * 9..][..9];
                for (a, row) in G.iter().enumerate() {
                    for (b, column) in G.iter().enumerate() {
                        let products =
                            (0..9).map(|k| row[k / 3] * column[k % 3] * f64::from(taps[k]));
                        let sum: f64 = products.sum();
                        let point = a * TILE_IN + b;
                        let panel = point * (outputs / BLOCK_CHANNELS) + o / BLOCK_CHANNELS;
                        let at = (panel * inputs + i) * BLOCK_CHANNELS + o % BLOCK_CHANNELS;
                        values[at] = sum as f32;
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

    /// Convolves `x` `[n, inputs, h, w]` to `[n, outputs, h, w]` (2 less in height and width
    /// without padding), then adds the bias `[outputs]` and `residual` of the output's shape.
    pub fn convolve(
        &self,
        x: &Tensor,
        padding: usize,
        bias: Option<&Tensor>,
        residual: Option<&Tensor>,
    ) -> Tensor {
        let x = NhwcBatch::from_tensor(x);
        assert_eq!(x.c, self.inputs, "channels");
        let (height, width) = (x.h + 2 * padding - 2, x.w + 2 * padding - 2);
        let bias = bias.map_or_else(|| vec![0.0; self.outputs], to_f32_vec);
        let residual = residual.map(NhwcBatch::from_tensor);
        let mut out = NhwcBatch::uninitialised(x.n, height, width, self.outputs);
        let convolution = Convolution {
            filter: self,
            zeros: vec![0.0; self.inputs],
            x: x.view(),
            padding,
            height,
            width,
            bias: &bias,
            residual: residual.as_ref().map(|r| r.view().values),
        };
        convolution.run(out.writer());
        out.into_tensor()
    }
}

/// One convolution of a batch.
struct Convolution<'a> {
    filter: &'a Filter,
    /// A pixel of the padding, `[inputs]`.
    zeros: Vec<f32>,
    x: NhwcView<'a>,
    padding: usize,
    /// Height and width of the output.
    height: usize,
    width: usize,
    /// `[outputs]`.
    bias: &'a [f32],
    /// Of the output's shape, `[n, h, w, c]`.
    residual: Option<&'a [f32]>,
}

/// Floats from one point's matrix of `rows` by `channels` to the next point's.
fn point_floats(rows: usize, channels: usize) -> usize {
    rows * channels + GAP_FLOATS
}

/// A tile's image, and the row and column of its first output pixel.
struct TilePosition {
    image: usize,
    top: usize,
    left: usize,
}

impl Convolution<'_> {
    /// Tiles in a column and in a row of the output.
    fn grid(&self) -> (usize, usize) {
        (
            self.height.div_ceil(TILE_OUT),
            self.width.div_ceil(TILE_OUT),
        )
    }

    /// Tiles of the whole batch.
    fn tiles(&self) -> usize {
        let (down, right) = self.grid();
        self.x.n * down * right
    }

    /// Tiles that a thread takes at a time: as many as its buffer holds, fewer where there would be
    /// no chunk for every thread.
    fn tiles_per_chunk(&self) -> usize {
        let floats_per_tile = POINTS * (self.filter.inputs + self.filter.outputs);
        let most = (BUFFER_FLOATS / floats_per_tile).clamp(2 * BLOCK_TILES, 96);
        most.min(self.tiles().div_ceil(max_threads()))
            .next_multiple_of(BLOCK_TILES)
    }

    fn position(&self, tile: usize) -> TilePosition {
        let (down, right) = self.grid();
        TilePosition {
            image: tile / (down * right),
            top: tile / right % down * TILE_OUT,
            left: tile % right * TILE_OUT,
        }
    }

    /// Computes all tiles, shared out over the threads.
    fn run(&self, out: DisjointWriter) {
        let (tiles, chunk) = (self.tiles(), self.tiles_per_chunk());
        let [v, m] = [self.filter.inputs, self.filter.outputs].map(|c| point_floats(chunk, c));
        let floats = POINTS * (v + m);
        let mut buffers = NhwcBatch::uninitialised(1, 1, max_threads(), floats);
        let buffers = buffers.writer();
        parallel_for(tiles.div_ceil(chunk), |thread, index| {
            // SAFETY: every thread has its own number, and with it its own buffer.
            let buffer = unsafe { buffers.part(thread * floats, floats) };
            let first = index * chunk;
            self.compute_tiles(first, chunk.min(tiles - first), buffer, out);
        });
    }

    /// Computes `count` tiles from number `first` on. `buffer` has room for `V` and `M` of them.
    #[cfg(target_arch = "x86_64")]
    fn compute_tiles(&self, first: usize, count: usize, buffer: &mut [f32], out: DisjointWriter) {
        // The rows of the matrices are tiles. Those behind the last tile, up to a whole block, hold
        // whatever the buffer held, and nothing reads their results.
        let rows = count.next_multiple_of(BLOCK_TILES);
        let (inputs, outputs) = (self.filter.inputs, self.filter.outputs);
        let (v_stride, m_stride) = (point_floats(rows, inputs), point_floats(rows, outputs));
        let (v, m) = buffer.split_at_mut(POINTS * v_stride);
        for t in 0..count {
            let pixels = self.input_pixels(first + t);
            // SAFETY: AVX2 and FMA were found (`kernels_cover_input`).
            unsafe { avx2::transform_input(&pixels, inputs, &mut v[t * inputs..], v_stride) };
        }
        for p in 0..POINTS {
            let filter = &self.filter.values[p * inputs * outputs..][..inputs * outputs];
            let v = &v[p * v_stride..][..rows * inputs];
            let m = &mut m[p * m_stride..][..rows * outputs];
            // SAFETY: as above.
            unsafe { avx2::multiply(v, filter, m, inputs, outputs) };
        }
        for t in 0..count {
            self.write_tile(first + t, &m[t * outputs..], m_stride, out);
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn compute_tiles(&self, _: usize, _: usize, _: &mut [f32], _: DisjointWriter) {
        unreachable!("`kernels_available` is false on this processor")
    }

    /// The 36 input pixels of a tile, `[inputs]` each; those in the padding are zeros.
    #[cfg(target_arch = "x86_64")]
    fn input_pixels(&self, tile: usize) -> [&[f32]; POINTS] {
        let TilePosition { image, top, left } = self.position(tile);
        let (x, padding) = (self.x, self.padding);
        std::array::from_fn(|k| {
            // Both count from the first row and column of the padding.
            let (row, column) = (top + k / TILE_IN, left + k % TILE_IN);
            let in_rows = (padding..x.h + padding).contains(&row);
            let in_columns = (padding..x.w + padding).contains(&column);
            if !in_rows || !in_columns {
                return &self.zeros[..];
            }
            let pixel = (image * x.h + row - padding) * x.w + column - padding;
            &x.values[pixel * x.c..][..x.c]
        })
    }

    /// Transforms the 36 points of a tile, which lie `stride` apart in `m`, to its output pixels
    /// and writes those that lie inside the image.
    #[cfg(target_arch = "x86_64")]
    fn write_tile(&self, tile: usize, m: &[f32], stride: usize, out: DisjointWriter) {
        let TilePosition { image, top, left } = self.position(tile);
        let outputs = self.filter.outputs;
        let mut pixels = [[0.0f32; BLOCK_CHANNELS]; TILE_OUT * TILE_OUT];
        for o in (0..outputs).step_by(BLOCK_CHANNELS) {
            let bias = &self.bias[o..o + BLOCK_CHANNELS];
            // SAFETY: AVX2 and FMA were found (`kernels_cover_input`).
            unsafe { avx2::transform_output(&m[o..], stride, bias, &mut pixels) };
            for (k, values) in pixels.iter().enumerate() {
                let (row, column) = (top + k / TILE_OUT, left + k % TILE_OUT);
                if row >= self.height || column >= self.width {
                    continue;
                }
                let at = ((image * self.height + row) * self.width + column) * outputs + o;
                // SAFETY: every tile belongs to one thread.
                let to = unsafe { out.part(at, BLOCK_CHANNELS) };
                let residual = self.residual.map(|r| &r[at..at + BLOCK_CHANNELS]);
                // SAFETY: as above.
                unsafe { avx2::write_pixel(values, residual, to) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::draw;
    use super::*;
    use crate::comparison::relative_error;
    use tch::Kind;

    fn in_double(x: &Tensor) -> Tensor {
        x.to_kind(Kind::Double)
    }

    /// libtorch's 3x3 convolution.
    fn direct(x: &Tensor, weight: &Tensor, bias: Option<Tensor>, padding: i64) -> Tensor {
        x.conv2d(weight, bias, [1, 1], [padding, padding], [1, 1], 1)
    }

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
            let (x, weight) = (draw(&[n, inputs, h, w]), draw(&[outputs, inputs, 3, 3]));
            let (bias, residual) = (draw(&[outputs]), draw(&[n, outputs, h, w]));
            let want = direct(
                &in_double(&x),
                &in_double(&weight),
                Some(in_double(&bias)),
                1,
            );
            let filter = Filter::from_weight(&weight).unwrap();
            let error = relative_error(&filter.convolve(&x, 1, Some(&bias), None), &want);
            assert!(error < 3e-5, "{n} {inputs} {outputs} {h} {w}: {error}");
            let got = filter.convolve(&x, 1, Some(&bias), Some(&residual));
            let error = relative_error(&got, &(want + in_double(&residual)));
            assert!(error < 3e-5, "{n} {inputs} {outputs} {h} {w}: {error}");
        }
        let (x, weight) = (draw(&[2, 16, 9, 12]), draw(&[16, 16, 3, 3]));
        let got = Filter::from_weight(&weight)
            .unwrap()
            .convolve(&x, 0, None, None);
        assert!(relative_error(&got, &direct(&x, &weight, None, 0)) < 3e-5);
    }

    #[test]
    fn the_adjoint_gives_the_input_gradient() {
        tch::manual_seed(2);
        let (x, weight) = (
            draw(&[2, 32, 8, 8]).set_requires_grad(true),
            draw(&[16, 32, 3, 3]),
        );
        let g = draw(&[2, 16, 8, 8]);
        let sum = (direct(&x, &weight, None, 1) * &g).sum(Kind::Float);
        let want = Tensor::run_backward(&[sum], &[&x], false, false).remove(0);
        let got = Filter::from_adjoint(&weight)
            .unwrap()
            .convolve(&g, 1, None, None);
        assert!(relative_error(&got, &want) < 3e-5);
    }

    #[test]
    fn images_do_not_change_each_other_and_threads_change_nothing() {
        tch::manual_seed(3);
        let x = draw(&[7, 32, 8, 8]);
        let filter = Filter::from_weight(&draw(&[32, 32, 3, 3])).unwrap();
        let whole = filter.convolve(&x, 1, None, None);
        let alone: Vec<Tensor> = (0..7)
            .map(|i| filter.convolve(&x.narrow(0, i, 1), 1, None, None))
            .collect();
        assert!(whole.equal(&Tensor::cat(&alone, 0)));
    }

    #[test]
    fn layers_that_do_not_gain_are_left_to_libtorch() {
        for shape in [
            [16, 3, 3, 3],
            [3, 16, 3, 3],
            [16, 16, 1, 1],
            [512, 512, 3, 3],
        ] {
            assert!(Filter::from_weight(&draw(&shape)).is_none(), "{shape:?}");
        }
    }
}
