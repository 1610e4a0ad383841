// What tch has no name for in libtorch; tf32.rs and cuda/ document it. Everything here lives in
// libtorch_cpu and libc10, and reaches CUDA through what libtorch_cuda.so registered when it was
// loaded, so that nothing links against that library.
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/empty.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <cstdint>

namespace {

// An exception must not reach Rust, and CUDA throws one for whatever went wrong earlier.
template <typename T, typename Work> T guarded(T otherwise, Work work) {
  try {
    return work();
  } catch (...) {
    return otherwise;
  }
}

c10::Device gpu(int index) {
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

// The stream to which libtorch's kernels of this thread and device go.
c10::Stream current_stream(int index) {
  return c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(gpu(index));
}

c10::Event *as_event(void *event) { return static_cast<c10::Event *>(event); }

} // namespace

extern "C" {

void egsde_tf32_allow(bool allow) {
  at::globalContext().setAllowTF32CuBLAS(allow);
  at::globalContext().setAllowTF32CuDNN(allow);
}

bool egsde_tf32_allowed_in_process() {
  return at::globalContext().allowTF32CuBLAS() && at::globalContext().allowTF32CuDNN();
}

bool egsde_tf32_forbidden_here() { return at::NoTF32Guard::should_disable_tf32(); }

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

bool egsde_cuda_empty_cache() {
  return guarded(false, [] {
    c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache();
    return true;
  });
}

// The most bytes that tensors took on a device since the last call; -1 where it is not known.
int64_t egsde_cuda_peak_bytes(int index) {
  return guarded(int64_t(-1), [=] {
    auto *allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
    const auto device = static_cast<c10::DeviceIndex>(index);
    const auto peak = allocator->getDeviceStats(device).allocated_bytes[0].peak;
    allocator->resetPeakStats(device);
    return peak;
  });
}

// cuDNN's version as one number, 91900 for 9.19.0; 0 where it is not known.
int64_t egsde_cuda_cudnn_version() {
  return guarded(int64_t(0), [] {
    return static_cast<int64_t>(at::detail::getCUDAHooks().versionRuntimeCuDNN());
  });
}

// float32 numbers in page-locked memory, from which copies need not wait; null where there is none.
at::Tensor *egsde_cuda_pinned(int64_t numbers) {
  return guarded(static_cast<at::Tensor *>(nullptr), [=] {
    const auto options = at::TensorOptions(at::kFloat).pinned_memory(true);
    return new at::Tensor(at::empty({numbers}, options));
  });
}

// The driver's handle of the stream to which libtorch's kernels of this thread and device go.
bool egsde_cuda_stream(int index, void **stream) {
  return guarded(false, [=] {
    const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
    *stream = guard.getStreamNativeHandle(current_stream(index));
    return true;
  });
}

// Events on a device: made, recorded behind all work so far, waited for, dropped.
void *egsde_event_new() {
  return guarded(static_cast<void *>(nullptr), [] {
    return new c10::Event(c10::DeviceType::CUDA, c10::EventFlag::BACKEND_DEFAULT);
  });
}

bool egsde_event_record(void *event, int index) {
  return guarded(false, [=] {
    as_event(event)->record(current_stream(index));
    return true;
  });
}

bool egsde_event_wait(void *event) {
  return guarded(false, [=] {
    as_event(event)->synchronize();
    return true;
  });
}

// Milliseconds on the device from one event to a later one, for which it waits; -1 where CUDA does
// not tell.
double egsde_event_milliseconds(void *first, void *last) {
  return guarded(-1.0, [=] {
    as_event(last)->synchronize();
    return as_event(first)->elapsedTime(*as_event(last));
  });
}

void egsde_event_drop(void *event) { delete as_event(event); }

}
