//! Instance normalisation, as the image-to-image GANs have it.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

/// PyTorch's default, added to the variance.
const EPS: f64 = 1e-5;

/// Normalises each channel of each image by its own mean and variance (divided by `h w`), in
/// training as in application: no running statistics (Ulyanov et al. 2016).
#[derive(Debug)]
pub struct InstanceNorm {
    /// Factor and offset per channel, where the layer has them.
    affine: Option<[Tensor; 2]>,
}

impl InstanceNorm {
    /// A normalisation without weights.
    pub fn plain() -> Self {
        Self { affine: None }
    }

    /// Registers `weight` and `bias` `[channels]` under `path`.
    pub fn affine(path: Path, channels: i64) -> Self {
        let weight = path.var("weight", &[channels], Init::Const(1.0));
        let bias = path.var("bias", &[channels], Init::Const(0.0));
        Self {
            affine: Some([weight, bias]),
        }
    }

    /// Normalises `x` `[n, c, h, w]`, in float32 whatever its kind; shape and kind stay.
    ///
    /// It is libtorch's batch normalisation of one image with `n c` channels, as in libtorch's own
    /// `instance_norm`: means and variances in float64, to the same rounding as the authors' code.
    /// That `instance_norm` gives a wrong gradient on the CPU for a single image whose gradient
    /// lies channels-last; here the gradient goes through one dimension, which makes it contiguous.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let [n, c, h, w] = x.size()[..] else {
            panic!("images [n, c, h, w], not {:?}", x.size());
        };
        let rows = x.to_kind(Kind::Float).contiguous().view([1, n * c, h, w]);
        let none = None::<&Tensor>;
        let normed = Tensor::batch_norm(&rows, none, none, none, none, true, 0.0, EPS, false);
        let normed = normed.reshape([-1]).view([n, c, h, w]);
        let out = match &self.affine {
            Some([weight, bias]) => normed * weight.reshape([-1, 1, 1]) + bias.reshape([-1, 1, 1]),
            None => normed,
        };
        out.to_kind(x.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// The derivative of `sum(norm(x) * slope)`, with the gradient's memory channels-last.
    fn gradient(x: &Tensor, slope: &Tensor) -> Tensor {
        let x = x.copy().set_requires_grad(true);
        let out = InstanceNorm::plain().forward(&x);
        let weighted = out.permute([0, 2, 3, 1]) * slope.permute([0, 2, 3, 1]).contiguous();
        let sum = weighted.sum(Kind::Float);
        Tensor::run_backward(&[sum], &[x], false, false).remove(0)
    }

    /// Checks the gradient at random values around `mean` against the formula in float64.
    #[track_caller]
    fn check_gradient(mean: f64) {
        tch::manual_seed(5);
        let options = (Kind::Float, Device::Cpu);
        let x = Tensor::randn([1, 6, 5, 7], options) * 2.0 + mean;
        let slope = Tensor::randn([1, 6, 5, 7], options);
        let got = gradient(&x, &slope).to_kind(Kind::Double);
        let (x, slope) = (x.to_kind(Kind::Double), slope.to_kind(Kind::Double));
        let dims = [2i64, 3];
        let centred = &x - x.mean_dim(dims.as_slice(), true, Kind::Double);
        let rstd = (centred
            .square()
            .mean_dim(dims.as_slice(), true, Kind::Double)
            + EPS)
            .rsqrt();
        let normed = &centred * &rstd;
        let along = (&slope * &normed).mean_dim(dims.as_slice(), true, Kind::Double);
        let mean = slope.mean_dim(dims.as_slice(), true, Kind::Double);
        let want = rstd * (&slope - mean - normed * along);
        let error = (got - &want).abs().max().double_value(&[]);
        assert!(error < 1e-5 * want.abs().max().double_value(&[]), "{error}");
    }

    #[test]
    fn the_gradient_of_one_image_is_the_formulas_under_channels_last_strides() {
        check_gradient(0.5);
    }

    #[test]
    fn a_mean_of_many_deviations_costs_the_gradient_no_digits() {
        check_gradient(500.0);
    }

    #[test]
    fn reduced_precision_is_the_float32_result_rounded() {
        tch::manual_seed(6);
        let x = Tensor::randn([2, 3, 4, 4], (Kind::BFloat16, Device::Cpu));
        let norm = InstanceNorm::plain();
        let got = norm.forward(&x);
        let want = norm.forward(&x.to_kind(Kind::Float));
        assert!(got.equal(&want.to_kind(Kind::BFloat16)));
    }
}
