//! Faithfulness of one translated picture to its source: L2, mean squared error, PSNR, SSIM.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// One pair's numbers. Pictures are in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairScore {
    /// Euclidean norm of the difference over all pixels and channels.
    pub l2: f64,
    pub mse: f64,
    /// Decibels, data range 1, 1e-10 added to the mean squared error.
    pub psnr: f64,
    /// Structural similarity, 11x11 Gaussian window of sigma 1.5, no padding, mean over channels.
    pub ssim: f64,
}

/// Name and value of a number each pair has.
pub type Column = (&'static str, fn(&PairScore) -> f64);

/// Those that tables show.
pub const COLUMNS: [Column; 3] = [("l2", |p| p.l2), ("psnr", |p| p.psnr), ("ssim", |p| p.ssim)];

/// The mean of each of [`COLUMNS`] over at least one pair.
pub fn means(pairs: &[PairScore]) -> impl Iterator<Item = (&'static str, f64)> {
    COLUMNS.into_iter().map(|(key, value)| {
        (
            key,
            pairs.iter().map(value).sum::<f64>() / pairs.len() as f64,
        )
    })
}

const WINDOW: i64 = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// Normalised Gaussian of the SSIM window, `[1, 1, 11]`-shaped for either axis.
fn gaussian(device: Device) -> Tensor {
    let x = Tensor::arange(WINDOW, (Kind::Float, device)) - (WINDOW / 2) as f64;
    let g = (x.square() / (-2.0 * SIGMA * SIGMA)).exp();
    &g / g.sum(Kind::Float)
}

/// Gaussian filter without padding, every channel by itself.
fn blur(x: &Tensor, g: &Tensor) -> Tensor {
    let (n, c, h, w) = x.size4().expect("pictures have four dimensions");
    let flat = x.reshape([n * c, 1, h, w]);
    let rows = flat.conv2d(
        &g.reshape([1, 1, WINDOW, 1]),
        None::<Tensor>,
        [1, 1],
        [0, 0],
        [1, 1],
        1,
    );
    let both = rows.conv2d(
        &g.reshape([1, 1, 1, WINDOW]),
        None::<Tensor>,
        [1, 1],
        [0, 0],
        [1, 1],
        1,
    );
    both.reshape([n, c, h - WINDOW + 1, w - WINDOW + 1])
}

/// SSIM of each pair (Wang et al. 2004): `[n]`.
pub fn ssim(a: &Tensor, b: &Tensor) -> Tensor {
    let g = gaussian(a.device());
    let (ma, mb) = (blur(a, &g), blur(b, &g));
    let (aa, bb, ab) = (ma.square(), mb.square(), &ma * &mb);
    let va = blur(&a.square(), &g) - &aa;
    let vb = blur(&b.square(), &g) - &bb;
    let cov = blur(&(a * b), &g) - &ab;
    let map = (ab * 2.0 + C1) * (cov * 2.0 + C2) / ((aa + bb + C1) * (va + vb + C2));
    map.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)
}

fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::<f64>::try_from(
        x.to_kind(Kind::Double).to_device(Device::Cpu),
    )?)
}

/// All numbers of each pair of `source` and `translated`, both `[n, 3, h, w]` in [0, 1], at least 11 pixels a side.
pub fn pair_scores(source: &Tensor, translated: &Tensor) -> Result<Vec<PairScore>> {
    ensure!(
        source.size() == translated.size(),
        "sources are {:?}, translations {:?}",
        source.size(),
        translated.size()
    );
    let (_, _, h, w) = source.size4()?;
    ensure!(
        h >= WINDOW && w >= WINDOW,
        "SSIM needs at least {WINDOW} pixels a side, these are {h} x {w}"
    );
    tch::no_grad(|| {
        let square = (source - translated).square();
        let dims = [1i64, 2, 3];
        let l2 = numbers(
            &square
                .sum_dim_intlist(dims.as_slice(), false, Kind::Double)
                .sqrt(),
        )?;
        let mse = numbers(&square.mean_dim(dims.as_slice(), false, Kind::Double))?;
        let ssim = numbers(&ssim(source, translated))?;
        let score = |i: usize| PairScore {
            l2: l2[i],
            mse: mse[i],
            psnr: 10.0 * (1.0 / (mse[i] + 1e-10)).log10(),
            ssim: ssim[i],
        };
        Ok((0..l2.len()).map(score).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_equals_itself() {
        let x = Tensor::rand([2, 3, 32, 32], (Kind::Float, Device::Cpu));
        for s in pair_scores(&x, &x).unwrap() {
            assert_eq!((s.l2, s.mse), (0.0, 0.0));
            assert!(
                (s.psnr - 100.0).abs() < 1e-9 && (s.ssim - 1.0).abs() < 1e-5,
                "{s:?}"
            );
        }
    }

    #[test]
    fn a_constant_offset_has_known_numbers() {
        let a = Tensor::full([1, 3, 32, 32], 0.25, (Kind::Float, Device::Cpu));
        let s = pair_scores(&a, &(&a + 0.5)).unwrap()[0];
        assert!((s.l2 - 0.5 * (3.0 * 1024.0f64).sqrt()).abs() < 1e-4);
        assert!((s.psnr - 10.0 * 4.0f64.log10()).abs() < 1e-4);
        // Flat pictures: only the luminance term is left, (2 ab + C1) / (a^2 + b^2 + C1).
        let want = (2.0 * 0.25 * 0.75 + C1) / (0.0625 + 0.5625 + C1);
        // Float32 leaves about 1e-7 of variance where there is none; next to C2 = 9e-4 that is some 1e-4.
        assert!((s.ssim - want).abs() < 1e-3, "{} {want}", s.ssim);
    }

    #[test]
    fn sizes_that_do_not_match_are_named() {
        let x = |s: i64| Tensor::rand([1, 3, s, s], (Kind::Float, Device::Cpu));
        assert!(
            pair_scores(&x(32), &x(16))
                .unwrap_err()
                .to_string()
                .contains("[1, 3, 16, 16]")
        );
        assert!(pair_scores(&x(8), &x(8)).is_err());
    }
}
