//! Image batches in the memory order `[n, h, w, c]` ("channels last"), and memory that several
//! threads write.

use std::marker::PhantomData;
use tch::{Device, Kind, Tensor};

/// A float32 batch on the CPU whose memory lies `[n, h, w, c]` without gaps.
pub(crate) struct NhwcBatch {
    /// Owns the memory; shape `[n, h, w, c]`, contiguous.
    tensor: Tensor,
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
}

impl NhwcBatch {
    /// Takes a float32 CPU tensor `[n, c, h, w]` of any strides. Its memory is shared where it
    /// already lies `[n, h, w, c]`, and copied into that order where it does not.
    pub fn from_tensor(x: &Tensor) -> Self {
        let (n, c, h, w) = x.size4().expect("four dimensions");
        let tensor = x.detach().permute([0, 2, 3, 1]).contiguous();
        Self {
            tensor,
            n: n as usize,
            h: h as usize,
            w: w as usize,
            c: c as usize,
        }
    }

    /// A batch for a result, its values not yet set. The memory comes from libtorch's allocator,
    /// whose failure is an error that a caller can catch and not the end of the process.
    pub fn uninitialised(n: usize, h: usize, w: usize, c: usize) -> Self {
        let shape = [n as i64, h as i64, w as i64, c as i64];
        Self {
            tensor: Tensor::empty(shape, (Kind::Float, Device::Cpu)),
            n,
            h,
            w,
            c,
        }
    }

    /// The batch as a tensor `[n, c, h, w]` of the same memory.
    pub fn into_tensor(self) -> Tensor {
        self.tensor.permute([0, 3, 1, 2])
    }

    fn len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Read access that threads can share.
    pub fn view(&self) -> NhwcView<'_> {
        let start = self.tensor.data_ptr().cast::<f32>();
        // SAFETY: a contiguous float32 CPU tensor of this many values, which `self` keeps alive;
        // the borrow of `self` excludes `writer`, so that nothing writes meanwhile.
        let values = unsafe { std::slice::from_raw_parts(start, self.len()) };
        NhwcView {
            values,
            n: self.n,
            h: self.h,
            w: self.w,
            c: self.c,
        }
    }

    /// Write access for threads that each write different values.
    pub fn writer(&mut self) -> DisjointWriter<'_> {
        let start = self.tensor.data_ptr().cast::<f32>();
        DisjointWriter {
            start,
            length: self.len(),
            buffer: PhantomData,
        }
    }
}

/// A batch that threads read.
#[derive(Clone, Copy)]
pub(crate) struct NhwcView<'a> {
    /// All values, in the order `[n, h, w, c]`.
    pub values: &'a [f32],
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
}

impl NhwcView<'_> {
    /// Pixels of one image.
    pub fn pixels(&self) -> usize {
        self.h * self.w
    }
}

/// A buffer that several threads write at the same time, each its own part of it.
#[derive(Clone, Copy)]
pub(crate) struct DisjointWriter<'a> {
    start: *mut f32,
    length: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: values are reached through `part` only, whose callers promise disjoint parts.
unsafe impl Send for DisjointWriter<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for DisjointWriter<'_> {}

impl<'a> DisjointWriter<'a> {
    /// Write access to `values` for as long as they are borrowed.
    pub fn from_slice(values: &'a mut [f32]) -> Self {
        Self {
            start: values.as_mut_ptr(),
            length: values.len(),
            buffer: PhantomData,
        }
    }

    /// The `length` values from index `first` on.
    ///
    /// # Panics
    /// Where the part reaches outside the buffer.
    ///
    /// # Safety
    /// No part that is in use at the same time, in this thread or another, may overlap this one.
    #[expect(
        clippy::mut_from_ref,
        reason = "threads write disjoint parts of one buffer"
    )]
    pub unsafe fn part(&self, first: usize, length: usize) -> &mut [f32] {
        assert!(first + length <= self.length, "a part outside the buffer");
        // SAFETY: inside the buffer by the line above; exclusive by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), length) }
    }
}
