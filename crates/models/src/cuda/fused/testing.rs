//! The kernels of `group_norm.cu` on this processor, by `emulator.cpp`.

use super::driver::Module;
use super::{Kernels, real_type_macro};
use egsde_data::lock::lock;
use libloading::Library;
use std::cell::Cell;
use std::ffi::c_int;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use tch::{Device, Kind};

/// What the emulator takes for machine code.
pub(super) const CODE: &[u8] = b"emulated";

thread_local! {
    static IS_EMULATED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread's frozen layers take the emulated kernels.
pub(super) fn is_emulated() -> bool {
    IS_EMULATED.get()
}

/// The emulator for one kind of images, which stays loaded.
fn compile_emulator(kind: Kind) -> &'static Library {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libemulator.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cuda/fused/emulator.cpp");
    let define = format!("-D{}", real_type_macro(kind).unwrap());
    let compiler = Command::new("c++")
        .args(["-std=c++17", "-O1", "-shared", "-fPIC", &define, "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(compiler.unwrap().success());
    // SAFETY: its initialisers only set its own variables.
    let library = unsafe { Library::new(library) };
    Box::leak(Box::new(library.unwrap()))
}

/// The emulator's own functions.
type SetNumber = unsafe extern "C" fn(c_int);
type GetNumber = unsafe extern "C" fn() -> c_int;

struct Emulator {
    library: &'static Library,
    kernels: Kernels,
    fail_after: SetNumber,
    take_turns_backwards: SetNumber,
    launches: GetNumber,
}

fn make_emulator(kind: Kind) -> Emulator {
    let library = compile_emulator(kind);
    // SAFETY: these are their types in `emulator.cpp`.
    let (fail_after, take_turns_backwards, launches) = unsafe {
        (
            *library.get::<SetNumber>(b"emulator_fail_after").unwrap(),
            *library
                .get::<SetNumber>(b"emulator_take_turns_backwards")
                .unwrap(),
            *library.get::<GetNumber>(b"emulator_launches").unwrap(),
        )
    };
    Emulator {
        library,
        kernels: kernels_of(Module::load(library, 0, CODE).unwrap(), kind),
        fail_after,
        take_turns_backwards,
        launches,
    }
}

/// Emulated kernels as those of a device.
pub(super) fn kernels_of(module: Module, kind: Kind) -> Kernels {
    Kernels {
        module,
        device: Device::Cpu,
        kind,
        has_failed: AtomicBool::new(false),
    }
}

fn emulator(kind: Kind) -> &'static Emulator {
    static EMULATORS: [OnceLock<Emulator>; 2] = [const { OnceLock::new() }; 2];
    EMULATORS[usize::from(kind == Kind::BFloat16)].get_or_init(|| make_emulator(kind))
}

/// The kernels that this thread's layers take in place of a GPU's, while there is an [`Emulation`].
pub(super) fn emulated_kernels(kind: Kind) -> Option<Result<&'static Kernels, String>> {
    is_emulated().then(|| {
        real_type_macro(kind)?;
        emulator(kind).kernels.in_use()
    })
}

/// As long as it lives, frozen layers of this thread take the emulated kernels. The emulator runs
/// one block at a time, so that there is one of these at a time.
pub(crate) struct Emulation {
    kind: Kind,
    _only: MutexGuard<'static, ()>,
}

impl Emulation {
    /// For images of this kind.
    pub fn new(kind: Kind) -> Self {
        static ONLY: Mutex<()> = Mutex::new(());
        let only = lock(&ONLY);
        IS_EMULATED.set(true);
        Self { kind, _only: only }
    }

    /// The kernels.
    pub(super) fn kernels(&self) -> &'static Kernels {
        &emulator(self.kind).kernels
    }

    /// The driver.
    pub(super) fn library(&self) -> &'static Library {
        emulator(self.kind).library
    }

    /// Launches so far, also those of others before.
    pub fn launches(&self) -> i32 {
        // SAFETY: reads a number.
        unsafe { (emulator(self.kind).launches)() }
    }

    /// Lets so many launches succeed, and no more.
    pub fn fail_after(&self, launches: i32) {
        // SAFETY: sets a number.
        unsafe { (emulator(self.kind).fail_after)(launches) }
    }

    /// Which thread of a block has the first turn.
    pub fn take_turns_backwards(&self, on: bool) {
        // SAFETY: sets a number.
        unsafe { (emulator(self.kind).take_turns_backwards)(on.into()) }
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        self.fail_after(-1);
        self.take_turns_backwards(false);
        self.kernels().has_failed.store(false, Ordering::Relaxed);
        IS_EMULATED.set(false);
    }
}
