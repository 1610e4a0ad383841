//! Page-locked memory of the host, from which a GPU fetches numbers while the host goes on.

use super::{Event, is_loaded, takes_own_ways};
use egsde_data::lock::lock;
use std::sync::Mutex;
use tch::{Device, Kind, Tensor};

unsafe extern "C" {
    fn egsde_cuda_pinned(numbers: i64) -> *mut torch_sys::C_tensor;
}

/// Buffers that are not in use. They are never given back to CUDA: a GPU that no longer works would
/// end the process at that moment. There are few of them, and the next batch takes them again.
static UNUSED: Mutex<Vec<StagingBuffer>> = Mutex::new(Vec::new());

/// How float32 numbers get from the host to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staging {
    /// By way of page-locked memory, without waiting.
    Pinned,
    /// By an ordinary copy; on the CPU there is none.
    Plain,
}

impl Staging {
    /// The way to a device: page-locked memory for a GPU, unless plain operations were asked for.
    pub fn to_device(device: Device) -> Self {
        if takes_own_ways(device) && is_loaded() {
            Self::Pinned
        } else {
            Self::Plain
        }
    }

    /// A buffer for so many numbers: one that is not in use, or a new one.
    pub fn buffer(self, numbers: usize) -> StagingBuffer {
        match self {
            Self::Pinned => pinned_buffer(numbers).unwrap_or_else(|| plain_buffer(numbers)),
            Self::Plain => plain_buffer(numbers),
        }
    }
}

/// Memory of the host for float32 numbers on their way to a device.
#[derive(Debug)]
pub struct StagingBuffer {
    /// `[numbers]`, float32, on the CPU.
    host: Tensor,
    is_pinned: bool,
    /// Behind the last copy out of the buffer.
    fetched: Option<Event>,
}

fn plain_buffer(numbers: usize) -> StagingBuffer {
    StagingBuffer {
        host: Tensor::empty([numbers as i64], (Kind::Float, Device::Cpu)),
        is_pinned: false,
        fetched: None,
    }
}

/// Page-locked memory; none where there is no more of it.
fn pinned_buffer(numbers: usize) -> Option<StagingBuffer> {
    let mut unused = lock(&UNUSED);
    if let Some(place) = unused.iter().position(|b| b.host.numel() == numbers) {
        return Some(unused.swap_remove(place));
    }
    // SAFETY: CUDA is loaded; the tensor is handed over.
    let host = unsafe { egsde_cuda_pinned(numbers as i64) };
    (!host.is_null()).then(|| StagingBuffer {
        // SAFETY: the pointer is to a new tensor of float32 numbers.
        host: unsafe { Tensor::from_ptr(host) },
        is_pinned: true,
        fetched: None,
    })
}

impl StagingBuffer {
    /// The numbers, to be written. It waits until the device has fetched the last ones.
    pub fn numbers(&mut self) -> &mut [f32] {
        if let Some(fetched) = self.fetched.take() {
            fetched.wait();
        }
        let (start, count) = (self.host.data_ptr().cast::<f32>(), self.host.numel());
        // SAFETY: the tensor holds so many float32 numbers one behind the other, no other tensor
        // shares them, and the device reads them no more.
        unsafe { std::slice::from_raw_parts_mut(start, count) }
    }

    /// The numbers as a tensor of this shape on the device.
    pub fn into_tensor(mut self, shape: &[i64], device: Device) -> Tensor {
        if !self.is_pinned {
            return self.host.reshape(shape).to_device(device);
        }
        let fetched = self.host.to_device_(device, Kind::Float, true, true);
        self.fetched = Event::record(device);
        if self.fetched.is_some() {
            let mut unused = lock(&UNUSED);
            unused.push(self);
        } else {
            // Whether the device still reads it is not known.
            std::mem::forget(self);
        }
        fetched.reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_numbers_are_handed_over_as_they_are() {
        assert_eq!(Staging::to_device(Device::Cpu), Staging::Plain);
        assert_eq!(Staging::to_device(Device::Cuda(0)), Staging::Plain);
        let mut buffer = Staging::Plain.buffer(6);
        buffer
            .numbers()
            .copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let start = buffer.host.data_ptr();
        let tensor = buffer.into_tensor(&[2, 3], Device::Cpu);
        assert_eq!((tensor.size(), tensor.data_ptr()), (vec![2, 3], start));
        assert_eq!(tensor.double_value(&[1, 2]), 6.0);
    }
}
