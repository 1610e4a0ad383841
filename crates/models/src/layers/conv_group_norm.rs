//! A convolution and the group normalisation of its output, as residual blocks have them. Kernels
//! for GPUs add the convolution's bias and the time embedding as they normalise.

use super::conv::Conv2d;
use super::norm::{GroupNorm, add_per_channel};
use crate::gradient::Pullback;
use crate::kernels::group_norm::Activation;
use tch::{Kind, Tensor};

/// How the time embedding enters a residual block behind its first convolution.
#[derive(Debug, Clone, Copy)]
pub enum Embedding<'a> {
    /// It does not.
    None,
    /// `[n or 1, c]`, added to the convolution's output.
    Added(&'a Tensor),
    /// `[n or 1, 2 c]`: scale and shift of the normalised value ([`GroupNorm::forward_silu`]).
    ScaleShift(&'a Tensor),
}

impl<'a> Embedding<'a> {
    fn scale_shift(self) -> Option<&'a Tensor> {
        match self {
            Self::ScaleShift(rows) => Some(rows),
            Self::None | Self::Added(_) => None,
        }
    }

    /// `h` `[n, c, h, w]` with what is added to it.
    fn add_to(self, h: Tensor) -> Tensor {
        match self {
            Self::Added(e) => add_per_channel(&h, e),
            Self::None | Self::ScaleShift(_) => h,
        }
    }
}

impl GroupNorm {
    /// The convolution of `x` without its bias, and the bias with what `embedding` adds, `[n or 1,
    /// c]`; `None` where no kernel adds them within the normalisation.
    fn convolution_apart(
        &self,
        conv: &Conv2d,
        x: &Tensor,
        embedding: Embedding,
    ) -> Option<(Tensor, Tensor)> {
        if !self.asks_for_fused(x) {
            return None;
        }
        let (h, bias) = conv.forward_without_bias(x)?;
        let bias = bias.to_kind(Kind::Float).unsqueeze(0);
        let added = match embedding {
            Embedding::Added(e) => bias + e.to_kind(Kind::Float),
            Embedding::None | Embedding::ScaleShift(_) => bias,
        };
        Some((h, added))
    }

    /// [`GroupNorm::forward_silu`] of the convolution of `x`, with the time embedding in it. The
    /// kernels for GPUs add the convolution's bias and the embedding as they normalise, which saves
    /// two passes over the memory.
    pub fn forward_silu_of(&self, conv: &Conv2d, x: &Tensor, embedding: Embedding) -> Tensor {
        let scale_shift = embedding.scale_shift();
        let Some((h, added)) = self.convolution_apart(conv, x, embedding) else {
            let h = embedding.add_to(conv.forward(x));
            return self.forward_silu(&h, scale_shift);
        };
        match self.fused(&h, Some(&added), scale_shift, Activation::Silu) {
            Some((out, _)) => out,
            None => self.forward_silu(&add_per_channel(&h, &added), scale_shift),
        }
    }

    /// [`GroupNorm::forward_silu_of`], and its pullback to the convolution's output; `None` where
    /// libtorch must compute.
    pub fn pullback_silu_of(
        &self,
        conv: &Conv2d,
        x: &Tensor,
        embedding: Embedding,
    ) -> Option<(Tensor, Pullback<'_>)> {
        let scale_shift = embedding.scale_shift();
        let Some((h, added)) = self.convolution_apart(conv, x, embedding) else {
            let h = embedding.add_to(conv.forward(x));
            return self.pullback_silu(&h, scale_shift);
        };
        let fused = self.fused_pullback(&h, Some(&added), scale_shift);
        // A GPU's driver may refuse the kernel from here on.
        fused.or_else(|| self.pullback_silu(&add_per_channel(&h, &added), scale_shift))
    }
}
