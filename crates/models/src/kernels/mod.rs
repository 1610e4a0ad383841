//! This project's own float32 kernels for frozen networks on x86-64 processors with AVX2 and FMA:
//! Winograd convolution, and group normalisation fused with scale, shift and SiLU. Everything else
//! (GPUs, training, bf16 where the processor multiplies it) stays with libtorch.
//!
//! libtorch's direct convolutions already run near the processor's peak, so only an algorithm with
//! fewer multiplications is faster. Results do not depend on the number of threads or images: one
//! thread computes each output number, in a fixed order.
//!
//! # SIMD for readers who have not written it
//!
//! - An AVX2 register holds eight float32 numbers, and one instruction adds or multiplies all
//!   eight. FMA (fused multiply-add) is `a * b + c` in one instruction with one rounding.
//! - Such an instruction wants its eight numbers side by side in memory. The kernels therefore work
//!   on batches in the order `[n, h, w, c]` ([`nhwc`]), where the channels of a pixel lie side by
//!   side, and take eight channels at a time.
//! - A function with `#[target_feature(enable = "avx2,fma")]` is compiled for these instructions,
//!   whatever the rest of the program is compiled for. A processor without them cannot run it, so
//!   a call from ordinary code is `unsafe`, and [`kernels_available`] asks the processor first.

pub(crate) mod bf16;
pub(crate) mod group_norm;
pub(crate) mod nhwc;
pub(crate) mod parallel;
pub(crate) mod winograd;

use tch::{Device, Kind, Tensor};

/// Environment variable that turns these kernels off (any value), to compare with libtorch's own.
const OFF_VARIABLE: &str = "EGSDE_NO_KERNELS";

/// Whether the processor has AVX2 and FMA, and [`OFF_VARIABLE`] is not set.
pub(crate) fn kernels_available() -> bool {
    static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *AVAILABLE.get_or_init(|| processor_suffices() && std::env::var_os(OFF_VARIABLE).is_none())
}

#[cfg(target_arch = "x86_64")]
fn processor_suffices() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn processor_suffices() -> bool {
    false
}

/// Whether frozen layers of this precision on this device compute with these kernels directly.
pub(crate) fn kernels_cover(device: Device, kind: Kind) -> bool {
    kernels_available() && device == Device::Cpu && kind == Kind::Float
}

/// Whether a frozen network of this precision on this device computes with these kernels, be it
/// directly in float32 or in the float32 that emulates bf16.
pub fn kernels_in_use(device: Device, kind: Kind) -> bool {
    kernels_cover(device, kind) || bf16::emulates_bf16(device, kind)
}

/// Whether a frozen layer can compute on `x` `[n, c, h, w]` with these kernels: float32 on the CPU,
/// channels a multiple of eight, outside any gradient graph.
pub(crate) fn kernels_cover_input(x: &Tensor) -> bool {
    kernels_cover(x.device(), x.kind())
        && x.dim() == 4
        && x.size()[1] % 8 == 0
        && x.numel() > 0
        && !x.requires_grad()
}

/// The values of a float tensor of any kind, device and shape as float32, row by row.
fn to_f32_vec(x: &Tensor) -> Vec<f32> {
    let flat = x
        .detach()
        .to_device(Device::Cpu)
        .to_kind(Kind::Float)
        .flatten(0, -1);
    Vec::<f32>::try_from(flat).expect("a float tensor")
}

#[cfg(test)]
pub(crate) mod testing {
    use tch::{Device, Kind, Tensor};

    /// Standard normal float32 numbers on the CPU.
    pub fn draw(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }
}
