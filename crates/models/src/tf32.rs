//! TF32: float32 products and convolutions with 10 bits of mantissa on an NVIDIA GPU's tensor
//! cores. libtorch takes it for convolutions unless told not to, so full float32 must be asked for.
//!
//! [`allow`] holds for the process, and so for the backward passes that libtorch runs in threads of
//! its own; [`without`] holds for a thread. libtorch asks about the thread for products only, so
//! this project's convolutions ask for themselves.

use std::ffi::c_void;
use tch::{Kind, Tensor};

unsafe extern "C" {
    fn egsde_tf32_allow(allow: bool);
    fn egsde_tf32_allowed_in_process() -> bool;
    fn egsde_tf32_forbidden_here() -> bool;
    fn egsde_tf32_forbid_here() -> *mut c_void;
    fn egsde_tf32_as_before(guard: *mut c_void);
}

/// Lets GPUs take TF32 for float32, in all threads, or forbids it. Nothing changes on a CPU.
pub fn allow(allow: bool) {
    // SAFETY: sets two flags of libtorch's global context.
    unsafe { egsde_tf32_allow(allow) }
}

/// Whether float32 may be TF32 on a GPU in threads that do not forbid it.
fn allowed_in_process() -> bool {
    // SAFETY: reads flags of libtorch's global context.
    unsafe { egsde_tf32_allowed_in_process() }
}

/// Whether this thread forbids it.
fn forbidden_here() -> bool {
    // SAFETY: reads a flag of this thread.
    unsafe { egsde_tf32_forbidden_here() }
}

/// Whether this thread's float32 may be TF32 on a GPU.
pub fn allowed() -> bool {
    allowed_in_process() && !forbidden_here()
}

/// Whether a convolution of `x` must be told to compute in full float32, because the process allows
/// TF32 and this thread does not.
pub(crate) fn convolution_must_be_told(x: &Tensor) -> bool {
    let can_be_tf32 = x.device().is_cuda() && x.kind() == Kind::Float;
    can_be_tf32 && forbidden_here() && allowed_in_process()
}

/// libtorch's guard, which forbids TF32 in the thread that made it until it is dropped.
struct ForbiddenHere(*mut c_void);

impl ForbiddenHere {
    fn new() -> Self {
        // SAFETY: takes nothing; `drop` gives the guard back.
        Self(unsafe { egsde_tf32_forbid_here() })
    }
}

impl Drop for ForbiddenHere {
    fn drop(&mut self) {
        // SAFETY: made by `new`, in this thread as the pointer keeps the type from being sent, and
        // given back once.
        unsafe { egsde_tf32_as_before(self.0) }
    }
}

/// Does `work` in full float32 in this thread, whatever [`allow`] has set. Backward passes inside
/// it run in other threads and are not reached.
pub fn without<T>(work: impl FnOnce() -> T) -> T {
    let _guard = ForbiddenHere::new();
    work()
}

#[cfg(test)]
mod tests {
    #[test]
    fn allowed_by_choice_and_forbidden_within() {
        super::allow(true);
        assert!(super::allowed());
        super::without(|| {
            assert!(!super::allowed() && super::allowed_in_process());
            // Another thread, such as one that samples beside one that scores, is not bound.
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(super::allowed()));
            });
        });
        assert!(super::allowed());
        super::allow(false);
        assert!(!super::allowed());
    }
}
