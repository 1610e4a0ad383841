//! Group normalisation with scale, shift and SiLU on GPUs by this project's own kernels, for frozen
//! networks whose images lie channels last. libtorch's own kernel for GPUs takes channels first
//! only, so that it would turn images around at every layer.
//!
//! No GPU has shown these kernels right yet, so [`FUSED_VARIABLE`] must ask for them. Before they
//! are taken on a GPU, they are held against libtorch there. Where they cannot be compiled, loaded
//! or launched, or come out wrong, libtorch's operations take their place, and one line says why.

mod driver;
mod nvrtc;
mod pass;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use pass::FusedPass;

use super::card::DRIVER_LIBRARY;
use super::{Capability, card, loader_text, takes_own_ways};
use crate::comparison::relative_error;
use crate::gradient::by_autograd;
use crate::kernels::group_norm::{Activation, GroupNormParameters};
use driver::Module;
use std::ffi::c_void;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Once, OnceLock};
use tch::{Device, Kind, Tensor};

unsafe extern "C" {
    fn egsde_cuda_stream(index: i32, stream: *mut *mut c_void) -> bool;
}

/// Environment variable that turns the kernels on (any value).
const FUSED_VARIABLE: &str = "EGSDE_FUSED_CUDA";

/// The kernels' source.
const SOURCE: &str = include_str!("group_norm.cu");

/// GPUs of one machine that the kernels can be loaded on.
const MAX_GPUS: usize = 64;

/// Whether the kernels are asked for.
static IS_ASKED_FOR: LazyLock<AtomicBool> =
    LazyLock::new(|| AtomicBool::new(std::env::var_os(FUSED_VARIABLE).is_some()));

/// Asks for the kernels, or for libtorch's operations, in place of what the environment asked for.
/// Networks that are frozen already keep the order of their weights in memory.
pub fn set_fused(on: bool) {
    IS_ASKED_FOR.store(on, Ordering::Relaxed);
}

/// Whether frozen networks on this device keep images channels last and normalise groups by this
/// project's kernels: it is a GPU, `EGSDE_FUSED_CUDA` is set, and `EGSDE_PLAIN_CUDA` is not.
pub fn is_fused(device: Device) -> bool {
    #[cfg(test)]
    if testing::is_emulated() {
        return true;
    }
    takes_own_ways(device) && IS_ASKED_FOR.load(Ordering::Relaxed)
}

/// The macro that gives the kernels their type of images.
fn real_type_macro(kind: Kind) -> Result<&'static str, String> {
    match kind {
        Kind::Float => Ok("REAL=float"),
        Kind::BFloat16 => Ok("REAL=Bf16"),
        _ => Err(format!("no kernels for {kind:?}")),
    }
}

/// Compiles the kernels for GPUs of a capability and for images in float32 or bf16, as the program
/// does when it first needs them: machine code that the driver loads.
///
/// # Errors
/// The compiler's library is missing, the kind is another one, or the compiler refuses; in a line.
pub fn compile_group_norm(capability: Capability, kind: Kind) -> Result<Vec<u8>, String> {
    let real = real_type_macro(kind)?;
    nvrtc::Compiler::open()?.compile(SOURCE, capability, &[real])
}

/// Whether CUDA's run-time compiler is installed.
///
/// # Errors
/// It is not; the loader's reason.
pub fn find_compiler() -> Result<(), String> {
    nvrtc::Compiler::open().map(drop)
}

/// The kernels on one device, for one kind of images.
#[derive(Debug)]
struct Kernels {
    module: Module,
    device: Device,
    kind: Kind,
    /// Whether a launch was refused; they are not taken any more then.
    has_failed: AtomicBool,
}

impl Kernels {
    /// Compiles and loads the kernels on the GPU of this number, and holds them against libtorch.
    fn load(index: usize, kind: Kind) -> Result<Self, String> {
        let card = card(index).ok_or("the driver does not describe the GPU")?;
        let code = compile_group_norm(card.capability, kind)?;
        // SAFETY: loading the driver's library runs its initialisers, as libtorch does too.
        let library = unsafe { libloading::Library::new(DRIVER_LIBRARY) };
        // libtorch has it open too; it stays loaded.
        let library = Box::leak(Box::new(library.map_err(|error| loader_text(&error))?));
        let kernels = Self {
            module: Module::load(library, index, &code)?,
            device: Device::Cuda(index),
            kind,
            has_failed: AtomicBool::new(false),
        };
        tch::no_grad(|| check_against_libtorch(&kernels))?;
        Ok(kernels)
    }

    /// The stream to which libtorch's kernels of this thread go on the device.
    fn stream(&self) -> Result<*mut c_void, String> {
        let mut stream = std::ptr::null_mut();
        let Device::Cuda(index) = self.device else {
            // The tests' emulator has one stream.
            return Ok(stream);
        };
        // SAFETY: CUDA is loaded, since tensors of the device exist.
        let is_told = unsafe { egsde_cuda_stream(index as i32, &mut stream) };
        is_told
            .then_some(stream)
            .ok_or_else(|| "libtorch does not tell its stream".into())
    }

    /// These kernels, unless a launch of one was refused.
    fn in_use(&self) -> Result<&Self, String> {
        match self.has_failed.load(Ordering::Relaxed) {
            true => Err("the driver refused a launch".into()),
            false => Ok(self),
        }
    }

    /// Takes the kernels out of use.
    fn fail(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }
}

/// Tells once per process that libtorch's operations take the place of the kernels.
fn warn(reason: &str) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        let _ = writeln!(
            std::io::stderr(),
            "egsde: {FUSED_VARIABLE}: {reason}; libtorch's operations are taken"
        );
    });
}

/// The kernels for images of this kind on this device, loaded once per process.
fn kernels_on(device: Device, kind: Kind) -> Result<&'static Kernels, String> {
    static LOADED: [[OnceLock<Result<Kernels, String>>; 2]; MAX_GPUS] =
        [const { [const { OnceLock::new() }; 2] }; MAX_GPUS];
    #[cfg(test)]
    if let Some(kernels) = testing::emulated_kernels(kind) {
        return kernels;
    }
    let Device::Cuda(index) = device else {
        return Err("not a GPU".into());
    };
    real_type_macro(kind)?;
    let place = LOADED.get(index);
    let place = place.ok_or_else(|| format!("cuda:{index} is one GPU too many"))?;
    let place = &place[usize::from(kind == Kind::BFloat16)];
    let kernels = place.get_or_init(|| Kernels::load(index, kind));
    kernels.as_ref().map_err(String::clone)?.in_use()
}

/// Whether frozen networks on this GPU can take the kernels for images of this kind; compiles and
/// loads them.
///
/// # Errors
/// Why libtorch's operations are taken in their place.
pub fn find_fused_kernels(device: Device, kind: Kind) -> Result<(), String> {
    kernels_on(device, kind).map(drop)
}

/// Whether frozen networks of this precision on this device take the kernels: they are asked for
/// ([`is_fused`]) and can be taken.
pub fn takes_fused_kernels(device: Device, kind: Kind) -> bool {
    is_fused(device) && find_fused_kernels(device, kind).is_ok()
}

/// libtorch's operations for the same layer, channels first, in `kind`.
fn by_libtorch(
    x: &Tensor,
    added: Option<&Tensor>,
    parameters: &GroupNormParameters,
    kind: Kind,
) -> Tensor {
    let [weight, bias] = [parameters.weight, parameters.bias].map(|t| t.to_kind(kind));
    let (groups, eps) = (parameters.groups as i64, parameters.eps);
    let x = x.to_kind(kind).contiguous();
    let x = match added {
        Some(added) => x + added.to_kind(kind).unsqueeze(-1).unsqueeze(-1),
        None => x,
    };
    let y = x.group_norm(groups, Some(&weight), Some(&bias), eps, false);
    let y = match parameters.scale_shift {
        Some(rows) => {
            let parts = rows.to_kind(kind).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
            y * (&parts[0] + 1.0) + &parts[1]
        }
        None => y,
    };
    match parameters.activation {
        Activation::Identity => y,
        Activation::Silu => y.silu(),
    }
}

/// Numbers between -1 and 1 of a shape, without libtorch's random numbers.
fn wave(shape: &[i64], frequency: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Float, Device::Cpu)) * frequency)
        .sin()
        .reshape(shape)
}

/// Holds value and gradient of a small layer on the device against libtorch's operations.
fn check_against_libtorch(kernels: &Kernels) -> Result<(), String> {
    let (n, c) = (2, 96);
    let numbers = [
        wave(&[n, c, 13, 7], 0.7) * 2.0 + 3.0,
        wave(&[n, c, 13, 7], 1.1),
    ];
    let [x, gradient] = numbers.map(|t| t.to_device(kernels.device).to_kind(kernels.kind));
    let layer = [
        wave(&[c], 0.3),
        wave(&[c], 0.9),
        wave(&[n, 2 * c], 1.7),
        wave(&[n, c], 2.3),
    ];
    let [weight, bias, scale_shift, added] = layer.map(|t| t.to_device(kernels.device));
    let added = Some(&added);
    let parameters = GroupNormParameters {
        weight: &weight,
        bias: &bias,
        groups: 32,
        eps: 1e-5,
        scale_shift: Some(&scale_shift),
        activation: Activation::Silu,
    };
    let (out, pass) = FusedPass::new(kernels, &x, added, &parameters)?;
    let in_float32 = x.to_kind(Kind::Float);
    let (want, back) = by_autograd(&in_float32, |x| {
        by_libtorch(x, added, &parameters, Kind::Float)
    });
    let want_gradient = back(&gradient.to_kind(Kind::Float));
    let errors = [
        relative_error(&out, &want),
        relative_error(&pass.gradient(&gradient)?, &want_gradient),
    ];
    let bound = if kernels.kind == Kind::Float {
        1e-4
    } else {
        1e-2
    };
    // NaN is no error that is small enough.
    if errors.iter().all(|error| *error < bound) {
        return Ok(());
    }
    let [value, slope] = errors;
    Err(format!(
        "the kernels differ from libtorch by {value:.1e}, their gradient by {slope:.1e}"
    ))
}

#[cfg(test)]
mod tests;
