//! Own float32 kernels for frozen networks on x86-64 processors with AVX2 and FMA: Winograd convolution, and group
//! normalisation fused with scale, shift and SiLU. Everything else (GPUs, training, bf16 where the processor has it) stays with
//! libtorch.
//!
//! libtorch's direct convolutions already run near the processor's peak; only fewer multiplications are faster. Results do
//! not depend on the number of threads or pictures: each output number is one thread's sum in a fixed order.

pub mod bf16;
pub mod norm;
mod parallel;
pub mod winograd;

use tch::{Device, Kind, Tensor};

/// Environment variable that turns these kernels off (any value), to compare with libtorch's own.
pub const OFF: &str = "EGSDE_NO_KERNELS";

/// Whether the processor can do it, and nobody has said no.
fn available() -> bool {
    static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        let able = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma");
        #[cfg(not(target_arch = "x86_64"))]
        let able = false;
        able && std::env::var_os(OFF).is_none()
    })
}

/// Whether these kernels serve networks of this precision on this device.
pub fn serves(device: Device, kind: Kind) -> bool {
    available() && device == Device::Cpu && kind == Kind::Float
}

/// Whether these kernels do any of the work of networks of this precision on this device.
pub fn take_part(device: Device, kind: Kind) -> bool {
    serves(device, kind) || bf16::is_lacking(device, kind)
}

/// Whether `x` `[n, c, h, w]` can take these kernels: float32 on the CPU, channels in eights, outside any gradient graph.
pub fn takes(x: &Tensor) -> bool {
    serves(x.device(), x.kind())
        && x.dim() == 4
        && x.size()[1] % 8 == 0
        && x.numel() > 0
        && !x.requires_grad()
}

/// A picture batch whose memory lies `[n, h, w, c]`.
pub(crate) struct Nhwc {
    /// Keeps the memory.
    tensor: Tensor,
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
}

impl Nhwc {
    /// Of a float32 CPU tensor `[n, c, h, w]` of any strides; copies only where its memory lies otherwise.
    pub fn of(x: &Tensor) -> Self {
        let (n, c, h, w) = x.size4().expect("four dimensions");
        let tensor = x.detach().permute([0, 2, 3, 1]).contiguous();
        Self {
            tensor,
            n: n as usize,
            h: h as usize,
            w: w as usize,
            c: c as usize,
        }
    }

    /// Room for a result.
    pub fn empty(n: usize, h: usize, w: usize, c: usize) -> Self {
        let tensor = Tensor::empty(
            [n as i64, h as i64, w as i64, c as i64],
            (Kind::Float, Device::Cpu),
        );
        Self { tensor, n, h, w, c }
    }

    /// `[n, c, h, w]` again, channels last in memory.
    pub fn into_tensor(self) -> Tensor {
        self.tensor.permute([0, 3, 1, 2])
    }

    pub fn len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    pub fn view(&self) -> View<'_> {
        // SAFETY: a contiguous float32 CPU tensor of this many values, kept by `self`; nobody writes while it is borrowed.
        let values =
            unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast::<f32>(), self.len()) };
        View {
            values,
            n: self.n,
            h: self.h,
            w: self.w,
            c: self.c,
        }
    }

    /// For writers that each own different values.
    pub fn shared(&mut self) -> Shared {
        Shared(self.tensor.data_ptr().cast::<f32>(), self.len())
    }
}

/// What threads may read of it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub values: &'a [f32],
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
}

/// Memory that several threads write, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32, usize);

// SAFETY: the users below write disjoint ranges.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Of a vector that outlives its use.
    pub fn of(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr(), values.len())
    }

    /// The values from `at` on.
    ///
    /// # Safety
    /// No other thread may hold a part that overlaps.
    #[expect(
        clippy::mut_from_ref,
        reason = "threads write disjoint parts of one buffer"
    )]
    pub unsafe fn part(&self, at: usize, length: usize) -> &mut [f32] {
        assert!(at + length <= self.1, "a part outside the buffer");
        // SAFETY: inside the buffer by the line above, not shared by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at), length) }
    }
}

/// Values of a float32 tensor, in order.
pub(crate) fn floats(x: &Tensor) -> Vec<f32> {
    Vec::<f32>::try_from(
        x.detach()
            .to_device(Device::Cpu)
            .to_kind(Kind::Float)
            .flatten(0, -1),
    )
    .expect("a float tensor")
}

#[cfg(test)]
pub(crate) mod testing {
    use tch::{Device, Kind, Tensor};

    pub fn draw(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    /// The largest difference, by the largest number expected.
    pub fn error(got: &Tensor, want: &Tensor) -> f64 {
        (got - want).abs().max().double_value(&[]) / want.abs().max().double_value(&[])
    }
}
