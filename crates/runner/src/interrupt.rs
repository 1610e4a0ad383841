//! SIGINT, SIGTERM and SIGUSR1 (a scheduler's "your time is nearly over"): the first finishes the batch at hand, the second stops
//! at once.

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM, SIGUSR1};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

static LAST: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Exit codes by shell custom: 128 plus the signal's number.
fn code(signal: i32) -> i32 {
    128 + signal
}

/// Exit code after SIGUSR1.
pub const OUT_OF_TIME: u8 = 128 + SIGUSR1 as u8;

/// Exit code when whoever read the output has gone (`| head`), as if SIGPIPE had ended the process.
pub const READER_GONE: u8 = 128 + SIGPIPE as u8;

/// Starts listening. Call it once, before long work.
pub fn listen() -> Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    let last = LAST.get_or_init(|| Arc::new(AtomicUsize::new(0)));
    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        // Registered first, so that it sees the flag of an earlier signal only.
        flag::register_conditional_shutdown(signal, code(signal), again.clone())?;
        flag::register(signal, again.clone())?;
        flag::register_usize(signal, last.clone(), signal as usize)?;
    }
    Ok(())
}

/// The exit code of the signal that came, if any.
pub fn requested() -> Option<u8> {
    match LAST.get().map_or(0, |last| last.load(Ordering::SeqCst)) {
        0 => None,
        signal => u8::try_from(code(signal as i32)).ok(),
    }
}
