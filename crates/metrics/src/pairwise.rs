//! Faithfulness of translated images to their sources: L2, mean squared error, PSNR and SSIM.
//!
//! Each function takes sources and translations, both `[n, 3, h, w]` in [0, 1], and returns one
//! number per pair. All fail on shapes that differ.

use anyhow::{Result, ensure};
use tch::{Device, Kind, Tensor};

/// Side of SSIM's window in pixels.
const WINDOW: i64 = 11;
/// Standard deviation of SSIM's window in pixels.
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// Every dimension but the batch.
const IMAGE_DIMS: [i64; 3] = [1, 2, 3];

fn check_shapes(source: &Tensor, translated: &Tensor) -> Result<()> {
    let (source, translated) = (source.size(), translated.size());
    ensure!(
        source == translated,
        "sources are {source:?}, translations {translated:?}"
    );
    ensure!(
        source.len() == 4,
        "pictures of shape {source:?}: must be [n, 3, h, w]"
    );
    Ok(())
}

fn to_vec(x: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::<f64>::try_from(
        x.to_kind(Kind::Double).to_device(Device::Cpu),
    )?)
}

/// Euclidean norm of the difference over all pixels and channels.
///
/// # Errors
/// See the module.
pub fn l2(source: &Tensor, translated: &Tensor) -> Result<Vec<f64>> {
    check_shapes(source, translated)?;
    tch::no_grad(|| {
        let square = (source - translated).square();
        to_vec(
            &square
                .sum_dim_intlist(IMAGE_DIMS.as_slice(), false, Kind::Double)
                .sqrt(),
        )
    })
}

/// Mean squared error over all pixels and channels.
///
/// # Errors
/// See the module.
pub fn mse(source: &Tensor, translated: &Tensor) -> Result<Vec<f64>> {
    check_shapes(source, translated)?;
    tch::no_grad(|| {
        let square = (source - translated).square();
        to_vec(&square.mean_dim(IMAGE_DIMS.as_slice(), false, Kind::Double))
    })
}

/// Peak signal-to-noise ratio in decibels for the data range 1, with 1e-10 added to the mean
/// squared error.
///
/// # Errors
/// See the module.
pub fn psnr(source: &Tensor, translated: &Tensor) -> Result<Vec<f64>> {
    let mse = mse(source, translated)?;
    Ok(mse
        .iter()
        .map(|mse| 10.0 * (1.0 / (mse + 1e-10)).log10())
        .collect())
}

/// Structural similarity (Wang et al. 2004): Gaussian window of 11 x 11 pixels and sigma 1.5, no
/// padding, mean over channels.
///
/// # Errors
/// See the module, and images smaller than the window.
pub fn ssim_per_image(source: &Tensor, translated: &Tensor) -> Result<Vec<f64>> {
    check_shapes(source, translated)?;
    let (_, _, h, w) = source.size4()?;
    ensure!(
        h >= WINDOW && w >= WINDOW,
        "SSIM needs at least {WINDOW} pixels per side, these are {h} x {w}"
    );
    tch::no_grad(|| to_vec(&ssim(source, translated)))
}

/// Normalised Gaussian of the window along one axis, `[11]`.
fn gaussian(device: Device) -> Tensor {
    let x = Tensor::arange(WINDOW, (Kind::Float, device)) - (WINDOW / 2) as f64;
    let g = (x.square() / (-2.0 * SIGMA * SIGMA)).exp();
    &g / g.sum(Kind::Float)
}

/// Convolution of single-channel images `[n, 1, h, w]` with a kernel, without padding.
fn convolve(x: &Tensor, kernel: &Tensor) -> Tensor {
    x.conv2d(kernel, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1)
}

/// Gaussian filter without padding, applied per channel.
fn blur(x: &Tensor, g: &Tensor) -> Tensor {
    let (n, c, h, w) = x.size4().expect("images have four dimensions");
    let channels = x.reshape([n * c, 1, h, w]);
    let columns = convolve(&channels, &g.reshape([1, 1, WINDOW, 1]));
    let both = convolve(&columns, &g.reshape([1, 1, 1, WINDOW]));
    both.reshape([n, c, h - WINDOW + 1, w - WINDOW + 1])
}

/// SSIM per pair, `[n]`.
fn ssim(a: &Tensor, b: &Tensor) -> Tensor {
    let g = gaussian(a.device());
    let (mean_a, mean_b) = (blur(a, &g), blur(b, &g));
    let (aa, bb, ab) = (mean_a.square(), mean_b.square(), &mean_a * &mean_b);
    let variance_a = blur(&a.square(), &g) - &aa;
    let variance_b = blur(&b.square(), &g) - &bb;
    let covariance = blur(&(a * b), &g) - &ab;
    let map = (ab * 2.0 + C1) * (covariance * 2.0 + C2)
        / ((aa + bb + C1) * (variance_a + variance_b + C2));
    map.mean_dim(IMAGE_DIMS.as_slice(), false, Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    #[test]
    fn an_image_equals_itself() {
        let x = Tensor::rand([2, 3, 32, 32], OPTIONS);
        assert_eq!(l2(&x, &x).unwrap(), [0.0, 0.0]);
        assert_eq!(mse(&x, &x).unwrap(), [0.0, 0.0]);
        assert!(
            psnr(&x, &x)
                .unwrap()
                .iter()
                .all(|value| (value - 100.0).abs() < 1e-9)
        );
        assert!(
            ssim_per_image(&x, &x)
                .unwrap()
                .iter()
                .all(|value| (value - 1.0).abs() < 1e-5)
        );
    }

    #[test]
    fn a_constant_offset_has_known_values() {
        let a = Tensor::full([1, 3, 32, 32], 0.25, OPTIONS);
        let b = &a + 0.5;
        assert!((l2(&a, &b).unwrap()[0] - 0.5 * (3.0 * 1024.0f64).sqrt()).abs() < 1e-4);
        assert!((psnr(&a, &b).unwrap()[0] - 10.0 * 4.0f64.log10()).abs() < 1e-4);
        // In flat images only the luminance term is left: (2 ab + C1) / (a^2 + b^2 + C1).
        let want = (2.0 * 0.25 * 0.75 + C1) / (0.0625 + 0.5625 + C1);
        let got = ssim_per_image(&a, &b).unwrap()[0];
        // Float32 leaves about 1e-7 of variance where there is none; next to C2 = 9e-4 that is
        // 1e-4.
        assert!((got - want).abs() < 1e-3, "{got} {want}");
    }

    #[test]
    fn shapes_that_differ_are_named_by_every_metric() {
        let (large, small) = (
            Tensor::rand([1, 3, 32, 32], OPTIONS),
            Tensor::rand([1, 3, 16, 16], OPTIONS),
        );
        for metric in [l2, mse, psnr, ssim_per_image] {
            let error = metric(&large, &small).unwrap_err().to_string();
            assert!(error.contains("[1, 3, 16, 16]"), "{error}");
        }
    }

    #[test]
    fn an_image_smaller_than_the_window_has_no_ssim() {
        let x = Tensor::rand([1, 3, 8, 8], OPTIONS);
        assert!(ssim_per_image(&x, &x).is_err());
    }
}
