//! Out of memory: how it is recognised, and how a panic of libtorch's wrapper becomes a value.

use super::memory_fault::{self, Place};
use anyhow::Result;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The device had no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfMemory(pub String);

/// Texts of libtorch (CPU allocator, CUDA allocator), the C++ library, oneDNN and cuDNN (which name
/// no reason) and cuBLAS.
const SIGNS: [&str; 8] = [
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "std::bad_alloc",
    "could not create a primitive",
    "unable to find an engine to execute this computation",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
];

/// Where libtorch's C++ frames begin in a panic's text; tch writes their line breaks escaped.
const FRAMES: [&str; 2] = ["\\nframe #", "\nframe #"];

/// Whether an error's or panic's text means that memory ran out.
pub fn is_out_of_memory(text: &str) -> bool {
    SIGNS.iter().any(|sign| text.contains(sign))
}

/// The text that a panic carries, less libtorch's C++ frames.
pub fn panic_text(cause: &(dyn Any + Send)) -> String {
    let owned = cause.downcast_ref::<String>().map(String::as_str);
    let text = owned.or_else(|| cause.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("a panic without text");
    let end = FRAMES.iter().filter_map(|mark| text.find(mark)).min();
    text[..end.unwrap_or(text.len())].to_string()
}

/// A panic's cause as an error.
pub fn panic_error(cause: &(dyn Any + Send)) -> anyhow::Error {
    anyhow::Error::msg(panic_text(cause))
}

/// The value of running out of memory. What a GPU's allocator keeps for later is given back first:
/// a retry with a smaller batch needs pieces of other sizes.
fn out_of_memory(text: String) -> OutOfMemory {
    egsde_models::cuda::empty_cache();
    OutOfMemory(text)
}

/// Does the work; running out of memory is a value, whether libtorch reports it as an error or tch
/// panics with it.
///
/// # Errors
/// The work's own.
pub fn within_memory<T>(work: impl FnOnce() -> Result<T>) -> Result<Result<T, OutOfMemory>> {
    let error = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => return Ok(Ok(done)),
        Ok(Err(error)) => error,
        Err(cause) if is_out_of_memory(&panic_text(cause.as_ref())) => panic_error(cause.as_ref()),
        Err(cause) => resume_unwind(cause),
    };
    let text = format!("{error:#}");
    if is_out_of_memory(&text) {
        Ok(Err(out_of_memory(text)))
    } else {
        Err(error)
    }
}

/// Does things 0 to `total` in parts of `size`. A part for which the device has no room is halved,
/// and so are those after it.
///
/// # Errors
/// The work's own; out of memory with a part of one.
pub fn in_parts<T>(
    total: usize,
    mut size: usize,
    mut work: impl FnMut(Range<usize>) -> Result<T>,
) -> Result<Vec<T>> {
    let (mut done, mut start) = (Vec::new(), 0);
    while start < total {
        let part = start..(start + size).min(total);
        let end = part.end;
        let attempt = within_memory(|| {
            memory_fault::check(Place::Part);
            work(part)
        });
        match attempt? {
            Ok(result) => {
                done.push(result);
                start = end;
            }
            Err(OutOfMemory(text)) if size == 1 => {
                anyhow::bail!("no memory even for one: {text}")
            }
            Err(_) => size = size.div_ceil(2),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn libtorch_without_room_is_a_value() {
        let huge = within_memory(|| Ok(Tensor::zeros([1 << 58], (Kind::Float, Device::Cpu))));
        assert!(huge.unwrap().is_err());
        assert_eq!(within_memory(|| Ok(3)).unwrap(), Ok(3));
        assert!(within_memory::<()>(|| anyhow::bail!("something else")).is_err());
    }

    #[test]
    fn the_texts_of_cuda_are_recognised() {
        for text in [
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a capacity of 79.1 GiB",
            "GET was unable to find an engine to execute this computation",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        ] {
            assert!(
                within_memory::<()>(|| anyhow::bail!(text))
                    .unwrap()
                    .is_err(),
                "{text}"
            );
        }
        assert!(!is_out_of_memory(
            "CUDA error: an illegal memory access was encountered"
        ));
    }

    /// Hands a part back when the room is large enough for it.
    fn in_room(most: usize, part: Range<usize>) -> Result<Range<usize>> {
        if part.len() > most {
            Err(anyhow::Error::msg("out of memory"))
        } else {
            Ok(part)
        }
    }

    #[test]
    fn parts_are_halved_until_they_fit() {
        assert_eq!(
            in_parts(7, 4, |part| in_room(4, part)).unwrap(),
            [0..4, 4..7]
        );
        assert_eq!(
            in_parts(7, 5, |part| in_room(2, part)).unwrap(),
            [0..2, 2..4, 4..6, 6..7]
        );
        let error = in_parts(7, 4, |part| in_room(0, part)).unwrap_err();
        assert!(error.to_string().contains("out of memory"));
        assert!(in_parts(7, 4, |_| Result::<()>::Err(anyhow::Error::msg("broken"))).is_err());
    }

    #[test]
    fn frames_are_left_out() {
        let torch = "Torch(\"can't allocate memory\\nframe #0: c10::ThrowEnforceNotMet\")";
        assert_eq!(
            panic_text(&torch.to_string()),
            "Torch(\"can't allocate memory"
        );
        assert_eq!(panic_text(&"plain".to_string()), "plain");
    }
}
