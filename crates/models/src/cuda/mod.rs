//! CUDA: loading libtorch's CUDA library at run time, and what of it tch has no name for.
//!
//! The binary does not link `libtorch_cuda.so`, so that it also runs where there is none. libtorch
//! looks once whether there is CUDA and keeps the answer for the life of the process, so the
//! library must be loaded before that. The first backward pass on a CPU looks too, so every device
//! of a run is opened before anything computes.

mod card;
mod event;
mod fused;
mod pinned;

pub use card::{Capability, Card, OLDEST_CAPABILITY, card};
pub use event::Event;
pub(crate) use fused::FusedPass;
#[cfg(test)]
pub(crate) use fused::testing;
pub use fused::{
    compile_group_norm, find_compiler, find_fused_kernels, is_fused, set_fused, takes_fused_kernels,
};
pub use pinned::{Staging, StagingBuffer};

use std::sync::OnceLock;
use tch::{Cuda, Device};

/// The library that registers CUDA with libtorch.
const LIBRARY: &str = "libtorch_cuda.so";

/// Variable and value without which cuBLAS takes no fixed order of sums; it reads them when it
/// starts.
const CUBLAS_WORKSPACE: (&str, &str) = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8");

/// Environment variable that turns off (any value) everything this project does on a GPU beyond
/// handing plain operations to libtorch.
const PLAIN_VARIABLE: &str = "EGSDE_PLAIN_CUDA";

unsafe extern "C" {
    fn egsde_cuda_deterministic(on: bool);
    fn egsde_cuda_is_deterministic() -> bool;
    fn egsde_cuda_empty_cache() -> bool;
    fn egsde_cuda_peak_bytes(index: i32) -> i64;
    fn egsde_cuda_cudnn_version() -> i64;
}

/// Why CUDA cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// The message of the dynamic loader, as a rule that a library is missing.
    NotLoaded(String),
    /// The libraries are there; the driver or the GPU is not.
    NoDevice,
}

static LOADED: OnceLock<Result<(), Unavailable>> = OnceLock::new();

/// The dynamic loader's own words, which libloading keeps as the source of its error.
fn loader_text(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

fn load_library() -> Result<(), Unavailable> {
    if std::env::var_os(CUBLAS_WORKSPACE.0).is_none() {
        // SAFETY: called once, while options are parsed, before this program has started any
        // thread.
        unsafe { std::env::set_var(CUBLAS_WORKSPACE.0, CUBLAS_WORKSPACE.1) };
    }
    // SAFETY: libtorch_cuda's initialisers only register its kernels with the libtorch that is
    // already loaded.
    let library = unsafe { libloading::Library::new(LIBRARY) };
    // The library must stay loaded as long as the process lives.
    std::mem::forget(library.map_err(|error| Unavailable::NotLoaded(loader_text(&error)))?);
    if Cuda::is_available() {
        Ok(())
    } else {
        Err(Unavailable::NoDevice)
    }
}

/// Loads CUDA, once per process, and only then asks libtorch whether there is a GPU. Later calls
/// give the first one's result.
pub fn load() -> Result<(), Unavailable> {
    LOADED.get_or_init(load_library).clone()
}

/// Whether [`load`] found a GPU.
pub fn is_loaded() -> bool {
    LOADED.get().is_some_and(Result::is_ok)
}

/// Whether GPUs are to be given plain operations of libtorch only: `EGSDE_PLAIN_CUDA` is set. What
/// no GPU has shown right yet can be told apart from a fault by it.
pub fn is_plain() -> bool {
    static PLAIN: OnceLock<bool> = OnceLock::new();
    *PLAIN.get_or_init(|| std::env::var_os(PLAIN_VARIABLE).is_some())
}

/// Whether this project's own ways are taken on a device: it is a GPU, and not [`is_plain`].
pub fn takes_own_ways(device: Device) -> bool {
    device.is_cuda() && !is_plain()
}

/// Makes libtorch sum in one fixed order, so that the same command gives the same images twice, or
/// lets it choose, which makes training faster. Nothing changes where CUDA is not loaded.
pub fn set_deterministic(on: bool) {
    if is_loaded() {
        // SAFETY: sets flags of libtorch's global context.
        unsafe { egsde_cuda_deterministic(on) }
    }
}

/// Whether libtorch sums in one fixed order.
pub fn is_deterministic() -> bool {
    // SAFETY: reads a flag of libtorch's global context.
    unsafe { egsde_cuda_is_deterministic() }
}

/// Gives the memory that libtorch keeps for later back to the GPU. Nothing happens where CUDA is
/// not loaded or no longer works.
pub fn empty_cache() {
    if is_loaded() {
        // SAFETY: CUDA's allocator is registered once its library is loaded.
        unsafe { egsde_cuda_empty_cache() };
    }
}

/// The number by which libtorch's C++ knows a GPU; none on a CPU, and where CUDA is not loaded.
fn index_of_loaded(device: Device) -> Option<i32> {
    match device {
        Device::Cuda(index) if is_loaded() => i32::try_from(index).ok(),
        _ => None,
    }
}

/// The most bytes that tensors took on a GPU since the last call; `None` on a CPU, and where CUDA
/// is not loaded.
pub fn take_peak_bytes(device: Device) -> Option<u64> {
    let index = index_of_loaded(device)?;
    // SAFETY: CUDA's allocator is registered once its library is loaded.
    u64::try_from(unsafe { egsde_cuda_peak_bytes(index) }).ok()
}

/// Version of the cuDNN that was loaded, such as 9.19.0; `None` where there is none.
pub fn cudnn_version() -> Option<String> {
    if !is_loaded() {
        return None;
    }
    // SAFETY: asks the hooks that CUDA's library registered.
    dotted_cudnn_version(unsafe { egsde_cuda_cudnn_version() })
}

/// cuDNN 9's number 91900 as 9.19.0.
fn dotted_cudnn_version(number: i64) -> Option<String> {
    (number > 0).then(|| {
        format!(
            "{}.{}.{}",
            number / 10_000,
            number / 100 % 100,
            number % 100
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_told_in_the_loaders_words() {
        // SAFETY: there is no such library, so nothing is loaded.
        let error = unsafe { libloading::Library::new("libegsde_missing.so") }.unwrap_err();
        let text = loader_text(&error);
        assert!(text.contains("cannot open shared object file"), "{text}");
    }

    #[test]
    fn nothing_happens_where_cuda_is_not_loaded() {
        empty_cache();
        set_deterministic(true);
        assert!(!is_loaded() && !is_deterministic());
        assert_eq!(cudnn_version(), None);
        assert_eq!(
            (
                take_peak_bytes(Device::Cpu),
                take_peak_bytes(Device::Cuda(0))
            ),
            (None, None)
        );
    }

    #[test]
    fn the_number_of_cudnn_becomes_a_version() {
        assert_eq!(dotted_cudnn_version(91_900).as_deref(), Some("9.19.0"));
        assert_eq!(dotted_cudnn_version(91_002).as_deref(), Some("9.10.2"));
        assert_eq!(dotted_cudnn_version(0), None);
    }
}
