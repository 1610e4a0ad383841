//! Gradients with respect to images: by libtorch's graph, or layer by layer without one.

use tch::{Kind, Tensor};

/// Takes the gradient with respect to a layer's output to that with respect to its input. It can be
/// called once.
pub type Pullback<'a> = Box<dyn FnOnce(&Tensor) -> Tensor + 'a>;

/// The pullback of layers in sequence, from their pullbacks in the order of the forward pass.
pub fn chained<'a>(pullbacks: Vec<Pullback<'a>>) -> Pullback<'a> {
    Box::new(move |gradient| {
        let mut gradient = gradient.shallow_clone();
        for pullback in pullbacks.into_iter().rev() {
            gradient = pullback(&gradient);
        }
        gradient
    })
}

/// Gradient with respect to `y` `[n, ...]` of the sum of `f(y)`; where `f` gives one number per
/// image, each image's gradient is its own. It works inside `no_grad`.
pub fn gradient_of(y: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
    tch::with_grad(|| {
        let y = y.detach().set_requires_grad(true);
        let sum = f(&y).sum(Kind::Float);
        Tensor::run_backward(&[sum], &[&y], false, false).remove(0)
    })
}

/// A layer's output and its pullback, both by libtorch's graph.
pub fn by_autograd<'a>(
    x: &Tensor,
    layer: impl FnOnce(&Tensor) -> Tensor,
) -> (Tensor, Pullback<'a>) {
    let (x, out) = tch::with_grad(|| {
        let x = x.detach().set_requires_grad(true);
        let out = layer(&x);
        (x, out)
    });
    (
        out.detach(),
        Box::new(move |gradient| backpropagate(&x, out, gradient)),
    )
}

/// The gradient with respect to `x`, given that with respect to `out`, which was computed from it.
fn backpropagate(x: &Tensor, out: Tensor, gradient: &Tensor) -> Tensor {
    tch::with_grad(|| {
        let sum = (out * gradient).sum(Kind::Float);
        Tensor::run_backward(&[sum], &[x], false, false).remove(0)
    })
}
