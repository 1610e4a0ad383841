//! CUDA's run-time compiler (NVRTC), which makes machine code for the card at hand.

use super::super::{Capability, loader_text};
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;

/// The compiler, and what it loads when it compiles, which it would look for by name only.
const LIBRARY: &str = "libnvrtc.so.13";
const BUILTINS: &str = "libnvrtc-builtins.so.13.0";

/// Folder of the CUDA wheels as seen from libtorch's own libraries, in one Python environment.
const WHEELS: &str = "../../nvidia/cu13/lib";

/// Functions of `nvrtc.h`; all return 0 when they succeed.
type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type GetSize = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type GetBytes = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;

/// The compiler's library, opened.
#[derive(Debug)]
pub struct Compiler {
    library: Library,
}

/// Folder of the libtorch that this process has loaded.
fn libtorch_folder() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find_map(|line| {
        let path = line.get(line.find('/')?..)?;
        path.ends_with("/libtorch_cpu.so").then_some(path)
    })?;
    PathBuf::from(path).parent().map(PathBuf::from)
}

/// A library beside libtorch, or where the loader looks.
fn open_library(name: &str) -> Result<Library, String> {
    let beside = libtorch_folder().map(|folder| folder.join(WHEELS).join(name));
    if let Some(path) = beside.filter(|path| path.is_file()) {
        // SAFETY: the initialisers of CUDA's compiler only set up its own state.
        return unsafe { Library::new(path) }.map_err(|error| loader_text(&error));
    }
    // SAFETY: as above.
    unsafe { Library::new(name) }.map_err(|error| loader_text(&error))
}

impl Compiler {
    /// Opens the compiler.
    ///
    /// # Errors
    /// It is not installed, in the loader's words.
    pub fn open() -> Result<Self, String> {
        // Stays loaded, so that the compiler finds it.
        std::mem::forget(open_library(BUILTINS)?);
        Ok(Self {
            library: open_library(LIBRARY)?,
        })
    }

    /// Machine code (a cubin) of CUDA C++ for GPUs of this capability. `defines` are macros as in
    /// `NAME=VALUE`.
    ///
    /// # Errors
    /// The source does not compile, with the compiler's first line, or a function is missing.
    pub fn compile(
        &self,
        source: &str,
        capability: Capability,
        defines: &[&str],
    ) -> Result<Vec<u8>, String> {
        let Capability { major, minor } = capability;
        let mut options = vec![
            format!("--gpu-architecture=sm_{major}{minor}"),
            "--std=c++17".into(),
        ];
        options.extend(defines.iter().map(|define| format!("-D{define}")));
        let options: Vec<CString> = options.iter().map(|option| c_string(option)).collect();
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let (source, name) = (c_string(source), c_string("group_norm.cu"));
        let mut program = std::ptr::null_mut();
        // SAFETY: the types are those of `nvrtc.h`; all texts end with NUL and live until the end
        // of this function, and the program is given back once.
        unsafe {
            let create = self.function::<Create>(b"nvrtcCreateProgram")?;
            let compile = self.function::<Compile>(b"nvrtcCompileProgram")?;
            let destroy = self.function::<Destroy>(b"nvrtcDestroyProgram")?;
            let none = std::ptr::null();
            let status = create(&mut program, source.as_ptr(), name.as_ptr(), 0, none, none);
            if status != 0 {
                return Err(format!("nvrtcCreateProgram gave {status}"));
            }
            let status = compile(program, options.len() as c_int, options.as_ptr());
            let code = match status {
                0 => self.bytes(program, b"nvrtcGetCUBINSize", b"nvrtcGetCUBIN"),
                _ => Err(self.first_line_of_log(program, status)),
            };
            destroy(&mut program);
            code
        }
    }

    /// A function of the library.
    ///
    /// # Safety
    /// `F` must be its type.
    unsafe fn function<F: Copy>(&self, name: &[u8]) -> Result<F, String> {
        // SAFETY: promised by the caller.
        let symbol = unsafe { self.library.get::<F>(name) };
        symbol.map(|f| *f).map_err(|error| loader_text(&error))
    }

    /// What a pair of functions, one for the size and one for the bytes, tells of a program.
    ///
    /// # Safety
    /// `program` must be one that was compiled and not given back.
    unsafe fn bytes(&self, program: Program, size: &[u8], get: &[u8]) -> Result<Vec<u8>, String> {
        let mut length = 0;
        // SAFETY: such pairs have these types; the buffer has the length that was asked for.
        unsafe {
            let (size, get) = (
                self.function::<GetSize>(size)?,
                self.function::<GetBytes>(get)?,
            );
            let mut status = size(program, &mut length);
            let mut bytes = vec![0u8; length];
            if status == 0 {
                status = get(program, bytes.as_mut_ptr().cast());
            }
            match status {
                0 => Ok(bytes),
                _ => Err(format!("nvrtc gave {status}")),
            }
        }
    }

    /// # Safety
    /// As [`Compiler::bytes`].
    unsafe fn first_line_of_log(&self, program: Program, status: c_int) -> String {
        // SAFETY: promised by the caller.
        let log = unsafe { self.bytes(program, b"nvrtcGetProgramLogSize", b"nvrtcGetProgramLog") };
        let log = log.unwrap_or_default();
        let text = CStr::from_bytes_until_nul(&log).unwrap_or_default();
        let text = text.to_string_lossy();
        let line = text.lines().find(|line| !line.is_empty());
        format!("nvrtc gave {status}: {}", line.unwrap_or_default())
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("sources and options hold no NUL")
}
