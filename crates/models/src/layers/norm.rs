//! Normalisations. Frozen group normalisation takes this project's kernels where they cover the
//! input: those for processors, and those for GPUs where they are asked for.

use super::Mode;
use crate::cuda::{FusedPass, is_fused};
use crate::gradient::{Pullback, by_autograd};
use crate::kernels::group_norm::{Activation, GroupNormParameters, GroupNormPass};
use crate::kernels::{bf16, kernels_cover_input};
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

/// Group normalisation over 32 groups with float32 statistics, whatever the kind of the input.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

/// Groups of every [`GroupNorm`].
const GROUPS: i64 = 32;

impl GroupNorm {
    /// Registers `weight` and `bias` under `path`; 32 groups, and PyTorch's default eps of 1e-5.
    ///
    /// # Panics
    /// Where `channels` is not a multiple of 32.
    pub fn new(path: Path, channels: i64) -> Self {
        Self::with_eps(path, channels, 1e-5)
    }

    /// As [`GroupNorm::new`] with another `eps`, which is added to the variance.
    pub fn with_eps(path: Path, channels: i64, eps: f64) -> Self {
        assert!(
            channels % GROUPS == 0,
            "GroupNorm: {channels} channels do not split into {GROUPS} groups"
        );
        Self {
            weight: path.var("weight", &[channels], Init::Const(1.0)),
            bias: path.var("bias", &[channels], Init::Const(0.0)),
            eps,
        }
    }

    /// What this project's kernels are told of the layer.
    fn parameters<'a>(
        &'a self,
        scale_shift: Option<&'a Tensor>,
        activation: Activation,
    ) -> GroupNormParameters<'a> {
        GroupNormParameters {
            weight: &self.weight,
            bias: &self.bias,
            groups: GROUPS as usize,
            eps: self.eps,
            scale_shift,
            activation,
        }
    }

    /// The output by this project's kernels for GPUs, and what its gradient needs; `None` where
    /// they are not asked for, the layer is trained, or libtorch must compute. `added`
    /// `[n or 1, c]` is added to `x` first.
    pub(super) fn fused(
        &self,
        x: &Tensor,
        added: Option<&Tensor>,
        scale_shift: Option<&Tensor>,
        activation: Activation,
    ) -> Option<(Tensor, FusedPass<'static>)> {
        if !self.asks_for_fused(x) {
            return None;
        }
        FusedPass::forward(x, added, &self.parameters(scale_shift, activation))
    }

    /// This project's kernel with the statistics of `x`; `None` where libtorch must compute.
    fn kernel_pass(
        &self,
        x: &Tensor,
        scale_shift: Option<&Tensor>,
        activation: Activation,
    ) -> Option<GroupNormPass> {
        if self.weight.requires_grad() || !kernels_cover_input(x) {
            return None;
        }
        let parameters = self.parameters(scale_shift, activation);
        Some(GroupNormPass::new(x, &parameters))
    }

    /// libtorch's group normalisation, its affine weights in float32.
    fn by_libtorch(&self, x: &Tensor) -> Tensor {
        x.group_norm(
            GROUPS,
            Some(&self.weight),
            Some(&self.bias),
            self.eps,
            false,
        )
    }

    /// libtorch's group normalisation of a float32 copy of `x`, rounded to the kind of `x`.
    fn through_float32(&self, x: &Tensor) -> Tensor {
        self.by_libtorch(&x.to_kind(Kind::Float)).to_kind(x.kind())
    }

    /// Normalises `x` `[n, c, ...]`; shape and kind stay.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if let Some((out, _)) = self.fused(x, None, None, Activation::Identity) {
            return out;
        }
        if let Some(out) = bf16::emulate(&self.weight, x, |x| self.forward(x)) {
            return out;
        }
        if let Some(pass) = self.kernel_pass(x, None, Activation::Identity) {
            return pass.forward();
        }
        if needs_float32(x.device(), x.kind()) {
            self.through_float32(x)
        } else {
            self.by_libtorch(x)
        }
    }

    /// SiLU of the normalised `x` `[n, c, h, w]`. With `scale_shift` `[n, 2 c]` (or `[1, 2 c]` for
    /// all images), the normalised value is first multiplied by 1 plus the first half, and the
    /// second half is added.
    pub fn forward_silu(&self, x: &Tensor, scale_shift: Option<&Tensor>) -> Tensor {
        if let Some((out, _)) = self.fused(x, None, scale_shift, Activation::Silu) {
            return out;
        }
        let emulated = bf16::emulate(&self.weight, x, |x| {
            self.forward_silu(x, scale_shift.map(|e| e.to_kind(Kind::Float)).as_ref())
        });
        if let Some(out) = emulated {
            return out;
        }
        if let Some(pass) = self.kernel_pass(x, scale_shift, Activation::Silu) {
            return pass.forward();
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

    /// The gradient of [`GroupNorm::forward_silu`] by libtorch's graph.
    fn gradient_by_libtorch(
        &self,
        x: &Tensor,
        scale_shift: Option<&Tensor>,
        gradient: &Tensor,
    ) -> Tensor {
        let (_, back) = by_autograd(x, |x| self.forward_silu(x, scale_shift));
        back(gradient)
    }

    /// Whether this project's kernels for GPUs are asked for where `x` lies, and neither it nor the
    /// layer belongs to a graph, which only libtorch's operations extend.
    pub(super) fn asks_for_fused(&self, x: &Tensor) -> bool {
        let has_graph = self.weight.requires_grad() || x.requires_grad();
        !has_graph && is_fused(x.device())
    }

    /// [`GroupNorm::fused`] of `x` plus `added`, its SiLU, and the pullback to `x`.
    pub(super) fn fused_pullback(
        &self,
        x: &Tensor,
        added: Option<&Tensor>,
        scale_shift: Option<&Tensor>,
    ) -> Option<(Tensor, Pullback<'_>)> {
        let (out, pass) = self.fused(x, added, scale_shift, Activation::Silu)?;
        let (x, scale_shift) = (x.shallow_clone(), scale_shift.map(Tensor::shallow_clone));
        let added = added.map(Tensor::shallow_clone);
        let back = move |gradient: &Tensor| match pass.backward(gradient) {
            Some(gradient) => gradient,
            None => {
                let sum = added.as_ref().map(|added| add_per_channel(&x, added));
                self.gradient_by_libtorch(
                    sum.as_ref().unwrap_or(&x),
                    scale_shift.as_ref(),
                    gradient,
                )
            }
        };
        Some((out, Box::new(back)))
    }

    /// [`GroupNorm::forward_silu`] and its pullback; `None` where libtorch must compute.
    pub fn pullback_silu(
        &self,
        x: &Tensor,
        scale_shift: Option<&Tensor>,
    ) -> Option<(Tensor, Pullback<'_>)> {
        if let Some(fused) = self.fused_pullback(x, None, scale_shift) {
            return Some(fused);
        }
        if bf16::is_emulated(x) {
            let scale_shift = scale_shift.map(|e| e.to_kind(Kind::Float));
            let (out, back) = self.pullback_silu(&x.to_kind(Kind::Float), scale_shift.as_ref())?;
            let out = out.to_kind(Kind::BFloat16);
            return Some((out, Box::new(move |g| bf16::through_float32(g, back))));
        }
        let pass = self.kernel_pass(x, scale_shift, Activation::Silu)?;
        Some((
            pass.forward(),
            Box::new(move |gradient| pass.backward(gradient)),
        ))
    }
}

/// `x` `[n, c, h, w]` plus `added` `[n or 1, c]`, in the kind of `x`.
pub(super) fn add_per_channel(x: &Tensor, added: &Tensor) -> Tensor {
    x + added.to_kind(x.kind()).unsqueeze(-1).unsqueeze(-1)
}

/// Whether libtorch's group normalisation must be given float32. Its CPU kernel takes input of
/// reduced precision with float32 affine weights and sums in float32. Its CUDA kernel wants weights
/// of the input's kind, and would then keep mean and deviation in that kind too.
fn needs_float32(device: Device, kind: Kind) -> bool {
    device.is_cuda() && kind != Kind::Float
}

/// Batch normalisation with float32 statistics, registered as in PyTorch (`running_mean`,
/// `running_var`).
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

    /// Normalises `x` `[n, c, h, w]`: in training by the statistics of the batch, which also move
    /// the running ones, otherwise by the running statistics.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        const MOMENTUM: f64 = 0.1;
        Tensor::batch_norm(
            x,
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            mode == Mode::Train,
            MOMENTUM,
            self.eps,
            false,
        )
    }

    /// The affine map `x * factor + offset` per channel that the layer is with its running
    /// statistics: `[c]` each.
    pub fn factor_and_offset(&self) -> (Tensor, Tensor) {
        let factor = &self.weight / (&self.running_var + self.eps).sqrt();
        let offset = &self.bias - &self.running_mean * &factor;
        (factor, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::VarStore;

    #[test]
    fn reduced_precision_on_a_gpu_goes_through_float32() {
        for index in [0, 1] {
            assert!(needs_float32(Device::Cuda(index), Kind::BFloat16));
            assert!(needs_float32(Device::Cuda(index), Kind::Half));
            assert!(!needs_float32(Device::Cuda(index), Kind::Float));
        }
        assert!(!needs_float32(Device::Cpu, Kind::BFloat16));
    }

    #[test]
    fn through_float32_is_the_normalisation_rounded_once_and_can_be_trained() {
        tch::manual_seed(4);
        let vs = VarStore::new(Device::Cpu);
        let norm = GroupNorm::new(vs.root(), 64);
        let x = Tensor::randn([2, 64, 4, 4], (Kind::Float, Device::Cpu)) * 3.0 + 1.0;
        let x = x.to_kind(Kind::BFloat16);
        let out = norm.through_float32(&x);
        assert_eq!((out.kind(), out.size()), (Kind::BFloat16, x.size()));
        let exact = norm.by_libtorch(&x.to_kind(Kind::Float));
        assert!(out.equal(&exact.to_kind(Kind::BFloat16)));
        out.to_kind(Kind::Float)
            .square()
            .sum(Kind::Float)
            .backward();
        let gradient = norm.weight.grad();
        assert_eq!(gradient.kind(), Kind::Float);
        assert!(gradient.abs().sum(Kind::Float).double_value(&[]) > 0.0);
    }
}
