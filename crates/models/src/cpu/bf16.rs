//! bf16 on x86-64 processors without bf16 arithmetic, where libtorch's own is tens of times slower than float32: frozen layers
//! take bf16 operands, compute in float32 and round the result to bf16, as the instructions of other processors do.

use super::available;
use tch::{Device, Kind, Tensor};

/// Whether the processor multiplies bf16 itself (AVX512-BF16; every one with AMX has it).
pub fn processor_has_it() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether networks of this precision on this device compute through float32.
pub fn is_lacking(device: Device, kind: Kind) -> bool {
    available() && device == Device::Cpu && kind == Kind::BFloat16 && !processor_has_it()
}

/// Whether a frozen layer takes `x` through float32.
pub(crate) fn lacks(x: &Tensor) -> bool {
    is_lacking(x.device(), x.kind())
}

/// `layer` in float32 of bf16 numbers, rounded to bf16. Its weights must be bf16 numbers too (`Loaded::freeze` rounds them).
pub(crate) fn through_float32(x: &Tensor, layer: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
    layer(&x.to_kind(Kind::Float)).to_kind(Kind::BFloat16)
}

/// The result of a layer with this weight through float32; none where the layer takes `x` as it is.
pub(crate) fn instead(
    weight: &Tensor,
    x: &Tensor,
    layer: impl FnOnce(&Tensor) -> Tensor,
) -> Option<Tensor> {
    (lacks(x) && !weight.requires_grad()).then(|| through_float32(x, layer))
}
