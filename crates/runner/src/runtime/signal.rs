//! SIGINT, SIGTERM and SIGUSR1 (a scheduler's "the time is nearly over"): the first lets the images
//! at hand be finished, the second ends the program at once.

use crate::error::Interrupted;
use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The last signal that came; 0 before any.
static LAST: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// The exit code of a signal by the shell's convention.
fn exit_code(signal: i32) -> i32 {
    128 + signal
}

/// Exit code after SIGUSR1.
pub const OUT_OF_TIME: u8 = 128 + SIGUSR1 as u8;

/// Starts listening; called once, before long work.
///
/// # Errors
/// The system refuses a handler.
pub fn listen() -> Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    let last = LAST.get_or_init(|| Arc::new(AtomicUsize::new(0)));
    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        // Registered first, so that it sees the flag of an earlier signal only.
        flag::register_conditional_shutdown(signal, exit_code(signal), again.clone())?;
        flag::register(signal, again.clone())?;
        flag::register_usize(signal, last.clone(), signal as usize)?;
    }
    Ok(())
}

/// The exit code of the signal that came, if one did.
pub fn requested() -> Option<u8> {
    match LAST.get().map_or(0, |last| last.load(Ordering::SeqCst)) {
        0 => None,
        signal => u8::try_from(exit_code(signal as i32)).ok(),
    }
}

/// Ends the work where a signal came; `state` tells what is kept and how the work goes on.
///
/// # Errors
/// [`Interrupted`], with the signal's exit code.
pub fn stop_if_requested(state: impl FnOnce() -> String) -> Result<()> {
    let Some(code) = requested() else {
        return Ok(());
    };
    let text = state();
    Err(Interrupted { text, code }.into())
}
