//! Which GPU it is, asked of the driver's own library: libtorch tells its name only to Python.

use libloading::Library;
use std::ffi::{CStr, c_char, c_int};
use std::fmt;

/// The driver's library, which comes with the driver.
pub(super) const DRIVER_LIBRARY: &str = "libcuda.so.1";

/// Where Linux keeps the version of the loaded driver.
const DRIVER_VERSION_FILE: &str = "/proc/driver/nvidia/version";

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR` of `cuda.h`.
const CAPABILITY_ATTRIBUTES: [c_int; 2] = [75, 76];

/// The oldest compute capability that the wheels of libtorch 2.11 for CUDA 13 have code for
/// (Turing).
pub const OLDEST_CAPABILITY: Capability = Capability { major: 7, minor: 5 };

/// NVIDIA's number of a GPU's generation: 7.5 is Turing, 8.0 Ampere, 9.0 Hopper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// The number before the point.
    pub major: u32,
    /// The number behind it.
    pub minor: u32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Capability {
    /// Whether such GPUs multiply bf16 and TF32 (Ampere and newer).
    pub fn has_bf16_and_tf32(self) -> bool {
        self.major >= 8
    }
}

/// A GPU as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// For example NVIDIA H100 80GB HBM3.
    pub name: String,
    /// Its generation.
    pub capability: Capability,
    /// All of its memory, bytes.
    pub memory_bytes: u64,
    /// Version of the driver, for example 580.65.06; the version of CUDA that the driver serves
    /// where the system does not tell.
    pub driver: String,
}

/// The GPU that `cuda:INDEX` means, as `CUDA_VISIBLE_DEVICES` counts; none where the driver does
/// not tell, as on a machine without one. Nothing of libtorch is asked.
pub fn card(index: usize) -> Option<Card> {
    // SAFETY: loading the driver's library runs its initialisers, as libtorch does too.
    let library = unsafe { Library::new(DRIVER_LIBRARY) }.ok()?;
    let version_file = std::fs::read_to_string(DRIVER_VERSION_FILE).unwrap_or_default();
    let card = read_card(&library, index, &version_file);
    // libtorch may have it open too; it stays loaded either way.
    std::mem::forget(library);
    card
}

/// Functions of `cuda.h`; all return 0 when they succeed.
type Init = unsafe extern "C" fn(u32) -> c_int;
type GetVersion = unsafe extern "C" fn(*mut c_int) -> c_int;
type GetDevice = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
type GetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
type GetMemory = unsafe extern "C" fn(*mut usize, c_int) -> c_int;

/// Asks the functions of a driver library; none when one is missing or fails.
fn read_card(library: &Library, index: usize, version_file: &str) -> Option<Card> {
    let index = c_int::try_from(index).ok()?;
    // SAFETY: the types are those of `cuda.h`, and every pointer is to a variable or buffer of the
    // size that is named beside it.
    unsafe {
        let initialise = library.get::<Init>(b"cuInit").ok()?;
        let get_device = library.get::<GetDevice>(b"cuDeviceGet").ok()?;
        let get_name = library.get::<GetName>(b"cuDeviceGetName").ok()?;
        let get_attribute = library.get::<GetAttribute>(b"cuDeviceGetAttribute").ok()?;
        let get_memory = library.get::<GetMemory>(b"cuDeviceTotalMem_v2").ok()?;
        let get_version = library.get::<GetVersion>(b"cuDriverGetVersion").ok()?;
        let (mut device, mut cuda, mut memory) = (0, 0, 0usize);
        let mut name: [c_char; 256] = [0; 256];
        let mut numbers: [c_int; 2] = [0; 2];
        let mut failed = initialise(0) != 0
            || get_device(&mut device, index) != 0
            || get_name(name.as_mut_ptr(), 255, device) != 0
            || get_memory(&mut memory, device) != 0
            || get_version(&mut cuda) != 0;
        for (number, attribute) in numbers.iter_mut().zip(CAPABILITY_ATTRIBUTES) {
            failed = failed || get_attribute(number, attribute, device) != 0;
        }
        if failed {
            return None;
        }
        Some(Card {
            name: CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned(),
            capability: Capability {
                major: u32::try_from(numbers[0]).ok()?,
                minor: u32::try_from(numbers[1]).ok()?,
            },
            memory_bytes: memory as u64,
            driver: driver_version(version_file)
                .unwrap_or_else(|| format!("for CUDA {}.{}", cuda / 1000, cuda % 1000 / 10)),
        })
    }
}

/// The driver's version in the text of [`DRIVER_VERSION_FILE`], whose first line is
/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 ...`.
fn driver_version(text: &str) -> Option<String> {
    let is_version =
        |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    let first = text.lines().next()?;
    Some(first.split_whitespace().find(is_version)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A driver of one GPU.
    const STAND_IN: &str = r#"
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13010; return 0; }
int cuDeviceGet(int *device, int index) { *device = 7; return index == 0 ? 0 : 101; }
int cuDeviceGetName(char *name, int length, int device) {
  strncpy(name, "Tesla T4", length);
  return device != 7;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 7 : 5;
  return 0;
}
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 15843721216; return 0; }
"#;

    fn stand_in_driver() -> Library {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("d.c"), folder.path().join("libd.so"));
        std::fs::write(&source, STAND_IN).unwrap();
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        assert!(compiler.unwrap().success());
        // SAFETY: it has no initialisers.
        unsafe { Library::new(library) }.unwrap()
    }

    #[test]
    fn the_driver_describes_its_gpu() {
        let driver = stand_in_driver();
        let line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release";
        let card = read_card(&driver, 0, line).unwrap();
        assert_eq!(
            (card.name.as_str(), card.driver.as_str()),
            ("Tesla T4", "580.65.06")
        );
        assert_eq!(card.capability, OLDEST_CAPABILITY);
        assert_eq!(card.memory_bytes, 15_843_721_216);
        assert!(!card.capability.has_bf16_and_tf32());
        assert_eq!(read_card(&driver, 0, "").unwrap().driver, "for CUDA 13.1");
        assert_eq!(read_card(&driver, 1, line), None, "there is no second GPU");
    }

    #[test]
    fn the_version_of_the_driver_is_found_among_other_words() {
        let line = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\nGCC";
        assert_eq!(driver_version(line).as_deref(), Some("535.104.05"));
        assert_eq!(driver_version("NVRM version: unknown"), None);
    }

    #[test]
    fn generations_are_ordered() {
        let ampere = Capability { major: 8, minor: 0 };
        let volta = Capability { major: 7, minor: 0 };
        assert!(volta < OLDEST_CAPABILITY && OLDEST_CAPABILITY < ampere);
        assert!(ampere.has_bf16_and_tf32());
    }
}
