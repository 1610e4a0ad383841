//! One group normalisation of a batch on a GPU, and its gradient.

use super::driver::{Argument, Grid, Kernel, Sizes};
use super::{Kernels, kernels_on, warn};
use crate::kernels::group_norm::{Activation, GroupNormParameters};
use tch::{Device, Kind, Tensor};

/// Channels that a thread takes at a time; `group_norm.cu` knows it too.
const LANE: usize = 8;

/// Threads of a block that works on pixels, where the channels allow it.
const THREADS: usize = 256;

/// Threads of a block that works on the channels of a group.
const GROUP_THREADS: usize = 64;

/// The most channels: a block over pixels has [`THREADS`] threads or one per lane of channels, at
/// most the 512 of `group_norm.cu`, and must not need more than 48 KiB of memory.
const MAX_CHANNELS: usize = 4096;

/// The most images in a batch, which is the most blocks in the second direction of a launch.
const MAX_IMAGES: usize = 65_535;

/// The fewest pixels that a thread takes, and the most pieces of an image, whose sums one thread
/// adds. Neither depends on the GPU or the batch, so that sums do not.
const MIN_PIXELS_PER_THREAD: usize = 16;
const MAX_PIECES: usize = 128;

/// Bytes to which the kernels' loads are aligned.
const ALIGNMENT: usize = 16;

/// The launches for a batch.
#[derive(Debug, Clone, Copy)]
struct Plan {
    sizes: Sizes,
    /// Block (piece, image).
    over_pixels: Grid,
    /// Block (group, image).
    over_groups: Grid,
}

impl Plan {
    /// For `x` `[n, c, h, w]` and what is added to it; none where the kernels do not serve the
    /// shape.
    fn new(x: &Tensor, added: Option<&Tensor>, parameters: &GroupNormParameters) -> Option<Self> {
        let shape: Vec<usize> = x.size().iter().map(|side| *side as usize).collect();
        let [n, c, h, w] = shape[..] else {
            return None;
        };
        let (pixels, groups) = (h * w, parameters.groups);
        let is_served = (1..=MAX_IMAGES).contains(&n)
            && (1..=MAX_CHANNELS).contains(&c)
            && c.is_multiple_of(LANE)
            && c.is_multiple_of(groups)
            && (1..=1 << 24).contains(&pixels);
        let [scale_rows, added_rows] =
            [parameters.scale_shift, added].map(|t| t.map_or(1, |t| t.size()[0] as usize));
        let rows_fit = [scale_rows, added_rows]
            .iter()
            .all(|rows| [1, n].contains(rows));
        let numbers = [
            (Some(parameters.weight), c),
            (Some(parameters.bias), c),
            (parameters.scale_shift, scale_rows * 2 * c),
            (added, added_rows * c),
        ];
        if !is_served || !rows_fit || !fit(&numbers, x.device()) {
            return None;
        }
        let lanes = c / LANE;
        let rows = (THREADS / lanes).max(1);
        let least = pixels.div_ceil(MAX_PIECES).next_multiple_of(rows);
        let piece = least.max(rows * MIN_PIXELS_PER_THREAD);
        let pieces = pixels.div_ceil(piece);
        let numbers = [
            n,
            pixels,
            c,
            groups,
            piece,
            pieces,
            scale_rows,
            added_rows,
            usize::from(parameters.activation == Activation::Silu),
        ];
        let [
            n32,
            pixels,
            c32,
            groups32,
            piece,
            pieces32,
            scale_rows,
            added_rows,
            has_silu,
        ] = numbers.map(|number| number as i32);
        Some(Self {
            sizes: Sizes {
                n: n32,
                pixels,
                c: c32,
                groups: groups32,
                piece,
                pieces: pieces32,
                scale_rows,
                added_rows,
                has_silu,
            },
            over_pixels: Grid {
                blocks: [pieces, n],
                threads: rows * lanes,
                shared_bytes: 2 * rows * c * size_of::<f32>(),
            },
            over_groups: Grid {
                blocks: [groups, n],
                threads: GROUP_THREADS,
                shared_bytes: 2 * (c / groups) * size_of::<f64>(),
            },
        })
    }
}

/// Whether the layer's numbers lie on the device and are as many as the kernels read.
fn fit(numbers: &[(Option<&Tensor>, usize)], device: Device) -> bool {
    let mut given = numbers
        .iter()
        .filter_map(|(t, count)| Some(((*t)?, *count)));
    given.all(|(numbers, count)| numbers.device() == device && numbers.numel() == count)
}

/// The memory of `x` `[n, c, h, w]` in the order `[n, h, w, c]`, shared where it lies so already.
fn channels_last_memory(x: &Tensor) -> Tensor {
    let x = x.detach().permute([0, 2, 3, 1]).contiguous();
    match (x.data_ptr() as usize).is_multiple_of(ALIGNMENT) {
        true => x,
        false => x.copy(),
    }
}

/// A layer's numbers as the kernels read them.
fn in_float32(numbers: &Tensor) -> Tensor {
    numbers.detach().to_kind(Kind::Float).contiguous()
}

/// A group normalisation of one batch: what its gradient needs.
#[derive(Debug)]
pub(crate) struct FusedPass<'a> {
    kernels: &'a Kernels,
    /// `[n, h, w, c]`, contiguous.
    x: Tensor,
    /// `[4, n, c]`, float32: mean (less what is added to `x`), reciprocal standard deviation, gain
    /// and offset per image and channel, in the order of `enum Line` in `group_norm.cu`.
    lines: Tensor,
    plan: Plan,
}

impl FusedPass<'static> {
    /// The layer's output `[n, c, h, w]` for `x` of that shape plus `added` `[n or 1, c]`, and what
    /// its gradient needs. An `x` that does not lie channels last is copied. None for shapes that
    /// the kernels do not serve, and where they cannot be loaded or launched: standard error tells
    /// the first reason, and a refused launch takes the kernels out of use.
    pub fn forward(
        x: &Tensor,
        added: Option<&Tensor>,
        parameters: &GroupNormParameters,
    ) -> Option<(Tensor, Self)> {
        Plan::new(x, added, parameters)?;
        let kernels = kernels_on(x.device(), x.kind());
        let pass = kernels.and_then(|kernels| {
            Self::new(kernels, x, added, parameters).inspect_err(|_| kernels.fail())
        });
        pass.inspect_err(|reason| warn(reason)).ok()
    }

    /// The gradient with respect to `x`, given that with respect to the output, both
    /// `[n, c, h, w]`; none where the kernels can no longer be taken.
    pub fn backward(&self, gradient: &Tensor) -> Option<Tensor> {
        let gradient = self.gradient(gradient);
        gradient
            .inspect_err(|reason| {
                self.kernels.fail();
                warn(reason);
            })
            .ok()
    }
}

impl<'a> FusedPass<'a> {
    /// [`FusedPass::forward`] by these kernels.
    ///
    /// # Errors
    /// The kernels do not serve the shape, or the driver refused a launch.
    pub(super) fn new(
        kernels: &'a Kernels,
        x: &Tensor,
        added: Option<&Tensor>,
        parameters: &GroupNormParameters,
    ) -> Result<(Tensor, Self), String> {
        let plan = Plan::new(x, added, parameters).ok_or("a shape without kernels")?;
        let added = added.map(in_float32);
        let weight = in_float32(parameters.weight);
        let bias = in_float32(parameters.bias);
        let scale_shift = parameters.scale_shift.map(in_float32);
        let sizes = plan.sizes;
        let (n, c) = (i64::from(sizes.n), i64::from(sizes.c));
        let x = channels_last_memory(x);
        let pass = Self {
            kernels,
            lines: Tensor::empty([4, n, c], (Kind::Float, x.device())),
            x,
            plan,
        };
        let (parts, out) = (pass.empty_parts(), pass.x.empty_like());
        pass.launch(
            Kernel::Moments,
            plan.over_pixels,
            &[Some(&pass.x), Some(&parts)],
            &[Argument::Sizes(sizes)],
        )?;
        pass.launch(
            Kernel::GroupLines,
            plan.over_groups,
            &[
                Some(&pass.x),
                Some(&parts),
                added.as_ref(),
                Some(&weight),
                Some(&bias),
                scale_shift.as_ref(),
                Some(&pass.lines),
            ],
            &[
                Argument::Number(parameters.eps as f32),
                Argument::Sizes(sizes),
            ],
        )?;
        pass.launch(
            Kernel::Apply,
            plan.over_pixels,
            &[Some(&pass.x), Some(&pass.lines), Some(&out)],
            &[Argument::Sizes(sizes)],
        )?;
        Ok((out.permute([0, 3, 1, 2]), pass))
    }

    /// [`FusedPass::backward`].
    ///
    /// # Errors
    /// The gradient has another shape than the input, or the driver refused a launch.
    pub(super) fn gradient(&self, gradient: &Tensor) -> Result<Tensor, String> {
        let gradient = channels_last_memory(&gradient.to_kind(self.x.kind()));
        if gradient.size() != self.x.size() {
            return Err("a gradient of another shape".into());
        }
        let Plan {
            sizes,
            over_pixels,
            over_groups,
        } = self.plan;
        let shape = [2, i64::from(sizes.n), i64::from(sizes.c)];
        let (parts, out) = (self.empty_parts(), self.x.empty_like());
        let means = Tensor::empty(shape, (Kind::Float, self.x.device()));
        let given = [Some(&self.x), Some(&gradient), Some(&self.lines)];
        let sizes = [Argument::Sizes(sizes)];
        self.launch(
            Kernel::GradientSums,
            over_pixels,
            &[given.as_slice(), &[Some(&parts)]].concat(),
            &sizes,
        )?;
        self.launch(
            Kernel::GradientMeans,
            over_groups,
            &[Some(&parts), Some(&means)],
            &sizes,
        )?;
        self.launch(
            Kernel::GradientOfInput,
            over_pixels,
            &[given.as_slice(), &[Some(&means), Some(&out)]].concat(),
            &sizes,
        )?;
        Ok(out.permute([0, 3, 1, 2]))
    }

    /// Memory for two numbers per piece and channel.
    fn empty_parts(&self) -> Tensor {
        let Sizes { n, pieces, c, .. } = self.plan.sizes;
        let shape = [n, pieces, 2, c].map(i64::from);
        Tensor::empty(shape, (Kind::Float, self.x.device()))
    }

    /// Hands a kernel to libtorch's stream: its tensors, then its numbers.
    fn launch(
        &self,
        kernel: Kernel,
        grid: Grid,
        tensors: &[Option<&Tensor>],
        numbers: &[Argument],
    ) -> Result<(), String> {
        let mut arguments: Vec<Argument> =
            tensors.iter().map(|t| Argument::from_tensor(*t)).collect();
        arguments.extend(numbers);
        let stream = self.kernels.stream()?;
        // SAFETY: the callers' arguments are those of `group_norm.cu`, contiguous tensors of the
        // shapes that stand there, on the device of the kernels. libtorch hands the memory of a
        // dropped tensor to later work of the same stream only.
        unsafe { self.kernels.module.launch(kernel, grid, stream, &arguments) }
    }
}
