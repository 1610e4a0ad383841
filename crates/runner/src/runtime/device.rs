//! Where to compute: `cpu`, `cuda`, `cuda:N`, whether this libtorch and machine have it, and what a
//! GPU says when it no longer works.

use super::memory::is_out_of_memory;
use egsde_models::cuda::{self, Card, OLDEST_CAPABILITY, Unavailable};
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

/// What to say about a GPU for which the wheels of libtorch have no code; none for others.
fn too_old(index: usize, card: &Card) -> Option<String> {
    (card.capability < OLDEST_CAPABILITY).then(|| {
        format!(
            "cuda:{index} is a {} of compute capability {}, and this libtorch has code for \
             {OLDEST_CAPABILITY} (Turing) and newer only: take another --device",
            card.name, card.capability
        )
    })
}

fn cuda_device(index: usize) -> Result<Device, String> {
    cuda::load().map_err(|unavailable| explanation(&unavailable))?;
    // libtorch's own choice for convolutions is TF32; precision tf32 allows it again.
    egsde_models::tf32::allow(false);
    cuda::set_deterministic(true);
    let count = Cuda::device_count();
    if index as i64 >= count {
        return Err(format!("no device cuda:{index}: this machine has {count}"));
    }
    match cuda::card(index).and_then(|card| too_old(index, &card)) {
        Some(text) => Err(text),
        None => Ok(Device::Cuda(index)),
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

/// What the driver says about a GPU; none of a CPU, and where there is no driver.
pub fn card(device: Device) -> Option<Card> {
    match device {
        Device::Cuda(index) => cuda::card(index),
        _ => None,
    }
}

/// What decides how fast a device is, beside the machine: `cpu`, or `cuda` and the GPU's name where
/// there is a driver.
pub fn speed_class(device: Device) -> String {
    match card(device) {
        Some(card) => format!("cuda {}", card.name),
        None if device.is_cuda() => "cuda".into(),
        None => device_name(device),
    }
}

/// Texts of libtorch for errors after which CUDA refuses every further call of the process on that
/// GPU: a kernel went wrong, memory is defective, the driver lost the card. cuDNN tells no reason.
const SIGNS_OF_LOSS: [&str; 3] = [
    "CUDA error",
    "CUDA driver error",
    "CUDNN_STATUS_EXECUTION_FAILED",
];

/// Whether the text of an error or panic means that a GPU no longer works in this process.
pub fn is_device_lost(text: &str) -> bool {
    !is_out_of_memory(text) && SIGNS_OF_LOSS.iter().any(|sign| text.contains(sign))
}

/// The line of such a text that tells what happened.
pub fn loss_text(text: &str) -> String {
    let begin = SIGNS_OF_LOSS
        .iter()
        .filter_map(|sign| text.find(sign))
        .min();
    let rest = &text[begin.unwrap_or(0)..];
    // tch writes libtorch's line breaks escaped.
    let end = ["\\n", "\n", "\")"]
        .iter()
        .filter_map(|mark| rest.find(mark))
        .min();
    rest[..end.unwrap_or(rest.len())].trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_models::cuda::Capability;

    #[test]
    fn a_gpu_without_code_in_the_wheels_is_refused_by_name() {
        let mut card = Card {
            name: "Tesla V100-SXM2-16GB".into(),
            capability: Capability { major: 7, minor: 0 },
            memory_bytes: 16 << 30,
            driver: "580.65.06".into(),
        };
        let text = too_old(1, &card).unwrap();
        for part in ["cuda:1", "Tesla V100-SXM2-16GB", "7.0", "7.5 (Turing)"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        card.capability = Capability { major: 7, minor: 5 };
        assert_eq!(too_old(1, &card), None);
    }

    #[test]
    fn a_gpu_that_no_longer_works_is_told_from_one_without_memory() {
        for text in [
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be \
             asynchronously reported at some other API call",
            "CUDA error: unspecified launch failure",
            "CUDA error: CUDA driver version is insufficient for CUDA runtime version",
            "CUDA error: uncorrectable ECC error encountered",
            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa)`",
            "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        ] {
            assert!(is_device_lost(text), "{text}");
            let told = loss_text(&format!("panic: Torch(\"{text}\\nframe #0: c10::Error\")"));
            let first_line = text.lines().next().unwrap_or_default();
            assert!(first_line.ends_with(&told) && !told.is_empty(), "{told:?}");
        }
        for text in [
            "CUDA error: out of memory",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "CUDA out of memory. Tried to allocate 2.00 GiB",
            "the translation of cat-00001 is not finite",
        ] {
            assert!(!is_device_lost(text), "{text}");
        }
    }

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
