//! bf16 on x86-64 processors without bf16 arithmetic, where libtorch's own bf16 is tens of times
//! slower than float32. Frozen layers there take bf16 operands, compute in float32 and round the
//! result to bf16, as the bf16 instructions of other processors do.

use super::kernels_available;
use tch::{Device, Kind, Tensor};

/// Whether the processor multiplies bf16 itself (AVX512-BF16, which every processor with AMX has).
pub fn processor_has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether frozen networks of this precision on this device emulate bf16 with float32.
pub(crate) fn emulates_bf16(device: Device, kind: Kind) -> bool {
    let wants_bf16 = device == Device::Cpu && kind == Kind::BFloat16;
    kernels_available() && wants_bf16 && !processor_has_bf16()
}

/// Whether a frozen layer computes on `x` in float32 that emulates bf16.
pub(crate) fn is_emulated(x: &Tensor) -> bool {
    emulates_bf16(x.device(), x.kind())
}

/// Applies `layer` to `x` in float32 and rounds the result to bf16. The layer's weights must be
/// bf16 numbers too, which `Loaded::freeze` sees to.
pub(crate) fn through_float32(x: &Tensor, layer: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
    layer(&x.to_kind(Kind::Float)).to_kind(Kind::BFloat16)
}

/// The result of a frozen layer with this weight, by [`through_float32`]; `None` where bf16 is not
/// emulated for `x` or the layer is not frozen, so that the layer must compute on `x` as it is.
pub(crate) fn emulate(
    weight: &Tensor,
    x: &Tensor,
    layer: impl FnOnce(&Tensor) -> Tensor,
) -> Option<Tensor> {
    (is_emulated(x) && !weight.requires_grad()).then(|| through_float32(x, layer))
}
