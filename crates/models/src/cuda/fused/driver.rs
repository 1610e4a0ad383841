//! Kernels on a GPU through the driver's own library, which launches what libtorch does not know.

use super::super::loader_text;
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use tch::Tensor;

/// Functions of `cuda.h`; all return 0 when they succeed.
type Init = unsafe extern "C" fn(c_uint) -> c_int;
type GetDevice = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
type RetainContext = unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int;
type PushContext = unsafe extern "C" fn(*mut c_void) -> c_int;
type PopContext = unsafe extern "C" fn(*mut *mut c_void) -> c_int;
type LoadModule = unsafe extern "C" fn(*mut *mut c_void, *const c_void) -> c_int;
type GetFunction = unsafe extern "C" fn(*mut *mut c_void, *mut c_void, *const c_char) -> c_int;
type Launch = unsafe extern "C" fn(
    *mut c_void,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    *mut c_void,
    *mut *mut c_void,
    *mut *mut c_void,
) -> c_int;

/// A kernel of `group_norm.cu`.
#[derive(Debug, Clone, Copy)]
pub enum Kernel {
    Moments,
    GroupLines,
    Apply,
    GradientSums,
    GradientMeans,
    GradientOfInput,
}

impl Kernel {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 6] = [
        Self::Moments,
        Self::GroupLines,
        Self::Apply,
        Self::GradientSums,
        Self::GradientMeans,
        Self::GradientOfInput,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Moments => "moments",
            Self::GroupLines => "group_lines",
            Self::Apply => "apply",
            Self::GradientSums => "gradient_sums",
            Self::GradientMeans => "gradient_means",
            Self::GradientOfInput => "gradient_of_input",
        }
    }
}

/// The `Sizes` of `group_norm.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Images.
    pub n: i32,
    /// Pixels of an image.
    pub pixels: i32,
    /// Channels.
    pub c: i32,
    /// Groups of channels.
    pub groups: i32,
    /// Pixels that one block takes.
    pub piece: i32,
    /// Such pieces of an image.
    pub pieces: i32,
    /// Rows of scale and shift: `n`, or 1 that holds for all images.
    pub scale_rows: i32,
    /// Rows of what is added to the input: `n`, or 1 that holds for all images.
    pub added_rows: i32,
    /// Whether SiLU follows.
    pub has_silu: i32,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// Memory of the device, or null.
    Memory(*mut c_void),
    Number(f32),
    Sizes(Sizes),
}

impl Argument {
    /// The memory of a tensor, or null.
    pub fn from_tensor(tensor: Option<&Tensor>) -> Self {
        Self::Memory(tensor.map_or(std::ptr::null_mut(), Tensor::data_ptr))
    }

    /// Where the argument itself lies, for the driver to read.
    fn address(&self) -> *mut c_void {
        let address: *const c_void = match self {
            Self::Memory(pointer) => std::ptr::from_ref(pointer).cast(),
            Self::Number(number) => std::ptr::from_ref(number).cast(),
            Self::Sizes(sizes) => std::ptr::from_ref(sizes).cast(),
        };
        address.cast_mut()
    }
}

/// How many threads a kernel is launched with.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Blocks in either direction.
    pub blocks: [usize; 2],
    /// Threads of a block.
    pub threads: usize,
    /// Memory of a block.
    pub shared_bytes: usize,
}

/// The kernels, loaded on one GPU.
#[derive(Debug)]
pub struct Module {
    /// libtorch's context of the GPU, which the driver calls the primary one.
    context: *mut c_void,
    functions: [*mut c_void; Kernel::ALL.len()],
    push: PushContext,
    pop: PopContext,
    launch: Launch,
}

// SAFETY: contexts and functions of the driver may be used by any thread, and none changes.
unsafe impl Send for Module {}
// SAFETY: as for `Send`.
unsafe impl Sync for Module {}

fn checked(call: &str, status: c_int) -> Result<(), String> {
    match status {
        0 => Ok(()),
        _ => Err(format!("{call} gave {status}")),
    }
}

/// A function of the driver.
///
/// # Safety
/// `F` must be its type.
unsafe fn function<F: Copy>(library: &Library, name: &str) -> Result<F, String> {
    // SAFETY: promised by the caller.
    let symbol = unsafe { library.get::<F>(name.as_bytes()) };
    symbol.map(|f| *f).map_err(|error| loader_text(&error))
}

impl Module {
    /// Loads machine code on the GPU of this number. The library must be the driver's.
    ///
    /// # Errors
    /// What the driver refused.
    pub fn load(library: &'static Library, index: usize, code: &[u8]) -> Result<Self, String> {
        let index = c_int::try_from(index).map_err(|error| error.to_string())?;
        // SAFETY: the types are those of `cuda.h`, every pointer is to a variable of this function,
        // and the context that is pushed is popped.
        unsafe {
            let initialise = function::<Init>(library, "cuInit")?;
            let get_device = function::<GetDevice>(library, "cuDeviceGet")?;
            let retain = function::<RetainContext>(library, "cuDevicePrimaryCtxRetain")?;
            let (mut device, mut context) = (0, std::ptr::null_mut());
            checked("cuInit", initialise(0))?;
            checked("cuDeviceGet", get_device(&mut device, index))?;
            checked("cuDevicePrimaryCtxRetain", retain(&mut context, device))?;
            let mut module = Self {
                context,
                functions: [std::ptr::null_mut(); Kernel::ALL.len()],
                push: function(library, "cuCtxPushCurrent_v2")?,
                pop: function(library, "cuCtxPopCurrent_v2")?,
                launch: function(library, "cuLaunchKernel")?,
            };
            let functions = module.within_context(|| get_functions(library, code))?;
            module.functions = functions;
            Ok(module)
        }
    }

    /// Does `work` while the GPU's context is the thread's current one.
    fn within_context<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        // SAFETY: the context was retained and is never released; what is pushed is popped.
        unsafe {
            checked("cuCtxPushCurrent", (self.push)(self.context))?;
            let result = work();
            let mut popped = std::ptr::null_mut();
            checked("cuCtxPopCurrent", (self.pop)(&mut popped))?;
            result
        }
    }

    /// Hands a kernel to a stream of the GPU and does not wait for it.
    ///
    /// # Errors
    /// What the driver refused; the kernel does not run then.
    ///
    /// # Safety
    /// The arguments must be those of the kernel in `group_norm.cu`, with memory of the GPU as
    /// large as the kernel takes it for, and the stream one of the GPU's.
    pub unsafe fn launch(
        &self,
        kernel: Kernel,
        grid: Grid,
        stream: *mut c_void,
        arguments: &[Argument],
    ) -> Result<(), String> {
        let [x, y] = grid.blocks.map(|count| count as c_uint);
        let (threads, shared_bytes) = (grid.threads as c_uint, grid.shared_bytes as c_uint);
        let mut addresses: Vec<*mut c_void> = arguments.iter().map(Argument::address).collect();
        let (addresses, none) = (addresses.as_mut_ptr(), std::ptr::null_mut());
        let function = self.functions[kernel as usize];
        let launch = self.launch;
        // SAFETY: promised by the caller; the driver reads the arguments before it returns.
        self.within_context(|| unsafe {
            let status = launch(
                function,
                x,
                y,
                1,
                threads,
                1,
                1,
                shared_bytes,
                stream,
                addresses,
                none,
            );
            checked("cuLaunchKernel", status)
        })
    }
}

/// Loads machine code into the current context and finds the kernels.
///
/// # Safety
/// The library must be the driver's, and the thread must have a current context.
unsafe fn get_functions(
    library: &Library,
    code: &[u8],
) -> Result<[*mut c_void; Kernel::ALL.len()], String> {
    let mut functions = [std::ptr::null_mut(); Kernel::ALL.len()];
    let mut module = std::ptr::null_mut();
    // SAFETY: the types are those of `cuda.h`; the driver copies the code.
    unsafe {
        let load = function::<LoadModule>(library, "cuModuleLoadData")?;
        let get = function::<GetFunction>(library, "cuModuleGetFunction")?;
        checked("cuModuleLoadData", load(&mut module, code.as_ptr().cast()))?;
        for kernel in Kernel::ALL {
            let name = CString::new(kernel.name()).expect("names hold no NUL");
            let found = &mut functions[kernel as usize];
            checked("cuModuleGetFunction", get(found, module, name.as_ptr()))?;
        }
    }
    Ok(functions)
}
