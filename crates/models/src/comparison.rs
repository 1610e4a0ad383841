//! How far computed tensors lie from expected ones.

use tch::Tensor;

/// Largest `|got - want|` as a fraction of the largest `|want|`, of tensors of one shape.
pub fn relative_error(got: &Tensor, want: &Tensor) -> f64 {
    (got - want).abs().max().double_value(&[]) / want.abs().max().double_value(&[])
}
