//! Where to compute: `cpu`, `cuda`, `cuda:N`, and whether this libtorch and machine have it.

use egsde_models::cuda::{self, Unavailable};
use tch::{Cuda, Device};

/// What to say when CUDA cannot be used; each reason has its own mend.
fn explanation(unavailable: &Unavailable) -> String {
    match unavailable {
        Unavailable::NotLoaded(loader) => {
            format!(
                "no CUDA: its libraries cannot be loaded ({loader}): install them with `just \
                 setup-gpu`"
            )
        }
        Unavailable::NoDevice => {
            "no CUDA: its libraries are there, but libtorch finds no GPU or no \
                                  driver of version 580 or newer: see `nvidia-smi`"
                .into()
        }
    }
}

fn cuda_device(index: usize) -> Result<Device, String> {
    cuda::load().map_err(|unavailable| explanation(&unavailable))?;
    // libtorch's own choice for convolutions is TF32; precision tf32 allows it again.
    egsde_models::tf32::allow(false);
    cuda::set_deterministic(true);
    let count = Cuda::device_count();
    if (index as i64) < count {
        Ok(Device::Cuda(index))
    } else {
        Err(format!("no device cuda:{index}: this machine has {count}"))
    }
}

/// The number of the GPU a device's name means, none for cpu; the machine is not asked.
pub fn gpu_index(text: &str) -> Result<Option<usize>, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(None),
        None if text == "cuda" => Ok(Some(0)),
        Some(("cuda", index)) => index
            .parse()
            .map(Some)
            .map_err(|_| format!("no device number in {text:?}")),
        _ => Err(format!(
            "no device {text:?}; there are cpu, cuda:0, cuda:1, ..."
        )),
    }
}

/// Reads a device's name without asking the machine, for plans made where there is no GPU (a login
/// node).
pub fn named_device(text: &str) -> Result<Device, String> {
    Ok(gpu_index(text)?.map_or(Device::Cpu, Device::Cuda))
}

/// Reads a device's name and opens it. Every device of a run is opened before anything computes.
pub fn open_device(text: &str) -> Result<Device, String> {
    gpu_index(text)?.map_or(Ok(Device::Cpu), cuda_device)
}

/// A device as options spell it.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Cpu => "cpu".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(open_device("cpu"), Ok(Device::Cpu));
        assert_eq!(named_device("cuda:3"), Ok(Device::Cuda(3)));
        assert!(
            open_device("cuda:x")
                .unwrap_err()
                .contains("no device number")
        );
        assert!(open_device("gpu").unwrap_err().contains("there are cpu"));
    }

    #[test]
    fn each_reason_names_its_mend() {
        let missing = explanation(&Unavailable::NotLoaded(
            "libcublas.so.13: cannot open shared object file".into(),
        ));
        assert!(
            missing.contains("libcublas.so.13") && missing.contains("just setup-gpu"),
            "{missing}"
        );
        assert!(explanation(&Unavailable::NoDevice).contains("driver"));
    }
}
