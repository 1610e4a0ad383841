//! Where to compute: `cpu`, `cuda`, `cuda:N`, and whether this libtorch and machine have it.

use tch::{Cuda, Device};

/// The library that brings CUDA into libtorch; the binary does not link it, so that it also runs where there is none.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// Loads CUDA once; the reason when it cannot be.
fn load_cuda() -> Result<(), String> {
    if Cuda::is_available() {
        return Ok(());
    }
    // SAFETY: libtorch_cuda's initialisers only register its kernels with the libtorch that is already loaded.
    let library = unsafe { libloading::Library::new(CUDA_LIBRARY) };
    let library = library.map_err(|_| format!("no CUDA: {CUDA_LIBRARY} is not in .venv (pip install torch==2.11.0 with all it names)"))?;
    // It must stay loaded as long as the process lives.
    std::mem::forget(library);
    if Cuda::is_available() { Ok(()) } else { Err("no CUDA: libtorch finds no GPU or no driver".into()) }
}

fn cuda(index: usize) -> Result<Device, String> {
    load_cuda()?;
    // libtorch's own choice for convolutions is TF32; precision tf32 allows it again.
    egsde_models::tf32::allow(false);
    let count = Cuda::device_count();
    if (index as i64) < count { Ok(Device::Cuda(index)) } else { Err(format!("no device cuda:{index}: this machine has {count}")) }
}

/// The number of the GPU a device's name means, none for cpu; the machine is not asked.
pub fn index(text: &str) -> Result<Option<usize>, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(None),
        None if text == "cuda" => Ok(Some(0)),
        Some(("cuda", index)) => index.parse().map(Some).map_err(|_| format!("no device number in {text:?}")),
        _ => Err(format!("no device {text:?}; there are cpu, cuda:0, cuda:1, ...")),
    }
}

/// Reads a device's name and makes sure that it can be used.
pub fn device(text: &str) -> Result<Device, String> {
    index(text)?.map_or(Ok(Device::Cpu), cuda)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(device("cpu"), Ok(Device::Cpu));
        assert!(device("cuda:x").unwrap_err().contains("no device number"));
        assert!(device("gpu").unwrap_err().contains("there are cpu"));
        assert!(device("cuda:99").unwrap_err().starts_with("no "));
    }
}
