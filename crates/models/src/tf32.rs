//! TF32: float32 products and convolutions with 10 bits of mantissa on an NVIDIA GPU's tensor cores. libtorch takes it for
//! convolutions unless told not to, so float32 must be asked for.

use std::ffi::c_void;

unsafe extern "C" {
    fn egsde_tf32_allow(allow: bool);
    fn egsde_tf32_allowed() -> bool;
    fn egsde_tf32_forbid_here() -> *mut c_void;
    fn egsde_tf32_as_before(guard: *mut c_void);
}

/// Lets GPUs take TF32 for float32, in all threads, or forbids it. Nothing changes on a CPU.
pub fn allow(allow: bool) {
    // SAFETY: sets two flags of libtorch's global context.
    unsafe { egsde_tf32_allow(allow) }
}

/// Whether this thread's float32 may be TF32 on a GPU.
pub fn allowed() -> bool {
    // SAFETY: reads flags.
    unsafe { egsde_tf32_allowed() }
}

/// Full float32 in this thread until `work` is done, whatever [`allow`] said.
pub fn without<T>(work: impl FnOnce() -> T) -> T {
    struct Guard(*mut c_void);
    impl Drop for Guard {
        fn drop(&mut self) {
            // SAFETY: made by forbid_here in this thread, given back once.
            unsafe { egsde_tf32_as_before(self.0) }
        }
    }
    // SAFETY: the guard is given back in this thread, also when `work` panics.
    let _guard = Guard(unsafe { egsde_tf32_forbid_here() });
    work()
}

#[cfg(test)]
mod tests {
    #[test]
    fn allowed_by_choice_and_forbidden_within() {
        super::allow(true);
        assert!(super::allowed());
        super::without(|| assert!(!super::allowed()));
        assert!(super::allowed());
        super::allow(false);
        assert!(!super::allowed());
    }
}
