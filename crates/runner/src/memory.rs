//! Out of memory: how it is known, and how a panic of libtorch's wrapper becomes a value.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The device had no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfMemory(pub String);

/// How libtorch (CPU allocator, CUDA allocator), the C++ library and oneDNN (which names no reason) say it.
const SIGNS: [&str; 5] = ["not enough memory", "can't allocate memory", "out of memory", "std::bad_alloc", "could not create a primitive"];

/// Whether an error's or panic's text means that memory ran out.
pub fn is_out_of_memory(text: &str) -> bool {
    SIGNS.iter().any(|sign| text.contains(sign))
}

/// The text a panic carries.
fn panic_text(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().cloned().or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_string()));
    text.unwrap_or_else(|| "a panic without text".into())
}

/// A panic's cause as an error.
pub fn panicked<T>(cause: Box<dyn Any + Send>) -> anyhow::Result<T> {
    Err(anyhow::Error::msg(panic_text(cause.as_ref())))
}

/// Does the work; running out of memory is a value, whether libtorch reports it as an error or tch panics with it.
pub fn within_memory<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<Result<T, OutOfMemory>> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(Ok(done)),
        Ok(Err(error)) if is_out_of_memory(&format!("{error:#}")) => Ok(Err(OutOfMemory(format!("{error:#}")))),
        Ok(Err(error)) => Err(error),
        Err(cause) if is_out_of_memory(&panic_text(cause.as_ref())) => Ok(Err(OutOfMemory(panic_text(cause.as_ref())))),
        Err(cause) => resume_unwind(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn libtorch_without_room_is_a_value() {
        let huge = || Ok(Tensor::zeros([1 << 45], (Kind::Float, Device::Cpu)));
        assert!(within_memory(huge).unwrap().is_err());
        assert_eq!(within_memory(|| Ok(3)).unwrap(), Ok(3));
        let other: anyhow::Result<Result<(), OutOfMemory>> = within_memory(|| anyhow::bail!("something else"));
        assert!(other.is_err());
    }
}
