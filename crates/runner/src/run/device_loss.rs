//! GPUs that no longer work, and panics, as errors.

use crate::runtime::device::{is_device_lost, loss_text};
use crate::runtime::memory::panic_error;
use anyhow::Result;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A worker's GPU no longer works; the text is what it said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DeviceLost(pub String);

/// Whether a worker ended because its GPU no longer works.
pub(super) fn is_lost(result: &Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.is::<DeviceLost>())
}

/// The work's result; a panic is an error.
pub(super) fn catch_into_error<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    result.unwrap_or_else(|panic| Err(panic_error(panic.as_ref())))
}

/// The loss of a GPU as such; any other error as it is.
pub(super) fn lost_if_device_lost(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if is_device_lost(&text) {
        DeviceLost(loss_text(&text)).into()
    } else {
        error
    }
}
