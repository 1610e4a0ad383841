// Settings of libtorch that tch has no name for; tf32.rs and cuda.rs document them. Everything here
// lives in libtorch_cpu and libc10, and reaches CUDA through what libtorch_cuda.so registered when
// it was loaded, so that nothing links against that library.
#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <cstdint>

extern "C" {

void egsde_tf32_allow(bool allow) {
  at::globalContext().setAllowTF32CuBLAS(allow);
  at::globalContext().setAllowTF32CuDNN(allow);
}

bool egsde_tf32_allowed() {
  return at::globalContext().allowTF32CuBLAS() && at::globalContext().allowTF32CuDNN() &&
         !at::NoTF32Guard::should_disable_tf32();
}

void *egsde_tf32_forbid_here() { return new at::NoTF32Guard(); }

void egsde_tf32_as_before(void *guard) { delete static_cast<at::NoTF32Guard *>(guard); }

// The second argument, false, makes an operation without a fixed order an error instead of a
// warning; attention's backward pass heeds nothing less. Empty tensors are not filled with NaN, and
// cuDNN does not choose its algorithms by trial, which may end differently each time.
void egsde_cuda_deterministic(bool on) {
  auto &context = at::globalContext();
  context.setDeterministicAlgorithms(on, false);
  context.setDeterministicCuDNN(on);
  context.setDeterministicFillUninitializedMemory(false);
  context.setBenchmarkCuDNN(false);
}

bool egsde_cuda_is_deterministic() { return at::globalContext().deterministicAlgorithms(); }

void egsde_cuda_empty_cache() { c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache(); }

// The most bytes that tensors took on a device since the last call.
int64_t egsde_cuda_peak_bytes(int index) {
  auto *allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
  const auto device = static_cast<c10::DeviceIndex>(index);
  const auto peak = allocator->getDeviceStats(device).allocated_bytes[0].peak;
  allocator->resetPeakStats(device);
  return peak;
}

}
