//! Normalisations. Frozen group normalisation takes this project's kernel where it serves.

use crate::cpu::norm::{Affine, Normed};
use crate::cpu::{self, bf16};
use crate::gradient::Pullback;
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

/// Group normalisation with float32 statistics whatever the input's kind.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    eps: f64,
}

impl GroupNorm {
    /// Registers `weight` and `bias` under `path`; `channels` must be a multiple of `groups`.
    pub fn new(path: Path, channels: i64, groups: i64, eps: f64) -> Self {
        assert!(
            channels % groups == 0,
            "GroupNorm: {channels} channels do not split into {groups} groups"
        );
        Self {
            weight: path.var("weight", &[channels], Init::Const(1.0)),
            bias: path.var("bias", &[channels], Init::Const(0.0)),
            groups,
            eps,
        }
    }

    /// How this layer normalises `x` with this project's kernels, if it may.
    fn normed(&self, x: &Tensor, scale_shift: Option<&Tensor>, silu: bool) -> Option<Normed> {
        let affine = || Affine {
            weight: &self.weight,
            bias: &self.bias,
            groups: self.groups as usize,
            eps: self.eps,
            scale_shift,
            silu,
        };
        (!self.weight.requires_grad() && cpu::takes(x)).then(|| Normed::new(x, &affine()))
    }

    /// libtorch's group normalisation, its affine weights in float32.
    fn by_libtorch(&self, x: &Tensor) -> Tensor {
        x.group_norm(
            self.groups,
            Some(&self.weight),
            Some(&self.bias),
            self.eps,
            false,
        )
    }

    /// The same of a float32 copy of `x`, rounded to the kind of `x`.
    fn through_float32(&self, x: &Tensor) -> Tensor {
        self.by_libtorch(&x.to_kind(Kind::Float)).to_kind(x.kind())
    }

    /// Same shape and kind out as in.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(out) = bf16::instead(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        if let Some(normed) = self.normed(x, None, false) {
            return normed.forward();
        }
        if needs_float32(x.device(), x.kind()) {
            self.through_float32(x)
        } else {
            self.by_libtorch(x)
        }
    }

    /// Normalised, times 1 plus the first half of `scale_shift` `[n, 2 c]` plus its second, then SiLU.
    pub fn forward_silu(&self, x: &Tensor, scale_shift: Option<&Tensor>) -> Tensor {
        let in_float32 =
            |x: &Tensor| self.forward_silu(x, scale_shift.map(|e| e.to_kind(Kind::Float)).as_ref());
        if let Some(out) = bf16::instead(&self.weight, x, in_float32) {
            return out;
        }
        if let Some(normed) = self.normed(x, scale_shift, true) {
            return normed.forward();
        }
        let h = self.forward(x);
        match scale_shift {
            Some(e) => {
                let parts = e.to_kind(h.kind()).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
                (h * (&parts[0] + 1.0) + &parts[1]).silu()
            }
            None => h.silu(),
        }
    }

    /// [`GroupNorm::forward_silu`] and the way its gradient takes back; none where this project's kernels do not serve.
    pub fn pullback_silu(
        &self,
        x: &Tensor,
        scale_shift: Option<&Tensor>,
    ) -> Option<(Tensor, Pullback<'_>)> {
        if bf16::lacks(x) {
            let scale_shift = scale_shift.map(|e| e.to_kind(Kind::Float));
            let (out, back) = self.pullback_silu(&x.to_kind(Kind::Float), scale_shift.as_ref())?;
            return Some((
                out.to_kind(Kind::BFloat16),
                Box::new(move |gradient: &Tensor| bf16::through_float32(gradient, back)),
            ));
        }
        let normed = self.normed(x, scale_shift, true)?;
        Some((
            normed.forward(),
            Box::new(move |gradient| normed.backward(gradient)),
        ))
    }
}

/// Whether libtorch's group normalisation must be given float32. Its CPU kernel takes input of reduced precision with float32
/// affine weights and sums in float32; its CUDA kernel wants weights of the input's kind, and would then keep mean and
/// deviation in that kind too.
fn needs_float32(device: Device, kind: Kind) -> bool {
    device.is_cuda() && kind != Kind::Float
}

/// Batch normalisation, float32 statistics (`running_mean`, `running_var`, `num_batches_tracked` as in PyTorch).
#[derive(Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: f64,
}

impl BatchNorm {
    /// Registers the affine weights and the running statistics under `path`.
    pub fn new(path: Path, channels: i64, eps: f64) -> Self {
        Self {
            weight: path.var("weight", &[channels], Init::Const(1.0)),
            bias: path.var("bias", &[channels], Init::Const(0.0)),
            running_mean: path.zeros_no_train("running_mean", &[channels]),
            running_var: path.ones_no_train("running_var", &[channels]),
            eps,
        }
    }

    /// Normalises by the batch when `train`, else by the running statistics.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let (w, b) = (Some(&self.weight), Some(&self.bias));
        Tensor::batch_norm(
            x,
            w,
            b,
            Some(&self.running_mean),
            Some(&self.running_var),
            train,
            0.1,
            self.eps,
            false,
        )
    }

    /// Factor and term a channel, `[c]` each, that the running statistics make of it.
    pub fn line(&self) -> (Tensor, Tensor) {
        let factor = &self.weight / (&self.running_var + self.eps).sqrt();
        let term = &self.bias - &self.running_mean * &factor;
        (factor, term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::VarStore;

    #[test]
    fn reduced_precision_on_a_gpu_goes_through_float32() {
        assert!(
            needs_float32(Device::Cuda(0), Kind::BFloat16)
                && needs_float32(Device::Cuda(1), Kind::Half)
        );
        assert!(
            !needs_float32(Device::Cuda(0), Kind::Float)
                && !needs_float32(Device::Cpu, Kind::BFloat16)
        );
    }

    #[test]
    fn through_float32_is_the_normalisation_rounded_once_and_can_be_trained() {
        tch::manual_seed(4);
        let vs = VarStore::new(Device::Cpu);
        let norm = GroupNorm::new(vs.root(), 64, 32, 1e-5);
        let x = (Tensor::randn([2, 64, 4, 4], (Kind::Float, Device::Cpu)) * 3.0 + 1.0)
            .to_kind(Kind::BFloat16);
        let out = norm.through_float32(&x);
        assert_eq!((out.kind(), out.size()), (Kind::BFloat16, x.size()));
        let exact = norm.by_libtorch(&x.to_kind(Kind::Float));
        assert!(out.equal(&exact.to_kind(Kind::BFloat16)));
        out.to_kind(Kind::Float)
            .square()
            .sum(Kind::Float)
            .backward();
        assert_eq!(norm.weight.grad().kind(), Kind::Float);
        assert!(norm.weight.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0);
    }
}
