// Settings of libtorch that tch has no name for; tf32.rs says what they mean.
#include <ATen/Context.h>

extern "C" {

void egsde_tf32_allow(bool allow) {
  at::globalContext().setAllowTF32CuBLAS(allow);
  at::globalContext().setAllowTF32CuDNN(allow);
}

bool egsde_tf32_allowed() {
  return at::globalContext().allowTF32CuBLAS() && at::globalContext().allowTF32CuDNN() && !at::NoTF32Guard::should_disable_tf32();
}

void *egsde_tf32_forbid_here() { return new at::NoTF32Guard(); }

void egsde_tf32_as_before(void *guard) { delete static_cast<at::NoTF32Guard *>(guard); }

}
