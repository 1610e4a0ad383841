//! Gradients with respect to pictures: by libtorch's graph, or layer by layer without one.

use tch::{Kind, Tensor};

/// Takes the gradient of a layer's output to that of its input; may be used once.
pub type Pullback<'a> = Box<dyn FnOnce(&Tensor) -> Tensor + 'a>;

/// The way back through layers, given in the order they were gone through.
pub fn chained<'a>(way: Vec<Pullback<'a>>) -> Pullback<'a> {
    Box::new(move |g| {
        way.into_iter()
            .rev()
            .fold(g.shallow_clone(), |g, back| back(&g))
    })
}

/// Gradient of the batch sum of `f(y)` with respect to `y`. Works inside `no_grad`.
pub fn gradient_of(y: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
    tch::with_grad(|| {
        let y = y.detach().set_requires_grad(true);
        let sum = f(&y).sum(Kind::Float);
        Tensor::run_backward(&[sum], &[&y], false, false).remove(0)
    })
}

/// A layer's output and the way back, by libtorch's graph.
pub fn by_autograd<'a>(x: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> (Tensor, Pullback<'a>) {
    let (x, out) = tch::with_grad(|| {
        let x = x.detach().set_requires_grad(true);
        let out = f(&x);
        (x, out)
    });
    let value = out.detach();
    let back = move |g: &Tensor| {
        tch::with_grad(|| {
            Tensor::run_backward(&[(out * g).sum(Kind::Float)], &[&x], false, false).remove(0)
        })
    };
    (value, Box::new(back))
}
