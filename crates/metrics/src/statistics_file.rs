//! Reference statistics in pytorch-fid's format: an `.npz` with `mu` `[d]` and `sigma` `[d, d]`.

use crate::frechet::Statistics;
use anyhow::{Context, Result, ensure};
use egsde_models::files::read_bounded;
use ndarray::{Array1, Array2};
use ndarray_npy::{NpzReader, NpzWriter};
use std::io::Cursor;
use std::path::Path;
use tch::{Kind, Tensor};

/// No feature vector is longer; a header that claims more is refused before memory is taken.
const MAX_FEATURES: usize = 1 << 14;

/// Reads statistics; the error names the file. float32 and float64 are known.
pub fn read(path: &Path) -> Result<Statistics> {
    let bytes = read_bounded(path, (MAX_FEATURES * MAX_FEATURES * 9) as u64)?;
    parse(&bytes).with_context(|| format!("{} is not a usable statistics file", path.display()))
}

/// The largest array header and data that a file of statistics may hold once unpacked.
fn check_sizes(bytes: &[u8]) -> Result<()> {
    let limit = (MAX_FEATURES * MAX_FEATURES * 8) as u64;
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).context("not an .npz archive")?;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i)?;
        // Deflate packs at most about 1,032 to 1; whoever claims more is lying.
        let possible = entry.compressed_size().saturating_mul(1100).min(limit);
        ensure!(
            entry.size() <= possible.max(1024),
            "entry {} claims {} bytes",
            entry.name(),
            entry.size()
        );
    }
    Ok(())
}

fn vector(npz: &mut NpzReader<Cursor<&[u8]>>) -> Result<Vec<f64>> {
    let wide: Result<Array1<f64>, _> = npz.by_name("mu");
    Ok(match wide {
        Ok(mu) => mu.into_iter().collect(),
        Err(_) => npz
            .by_name::<ndarray::OwnedRepr<f32>, ndarray::Ix1>("mu")
            .context("array mu")?
            .into_iter()
            .map(f64::from)
            .collect(),
    })
}

fn matrix(npz: &mut NpzReader<Cursor<&[u8]>>) -> Result<Array2<f64>> {
    let wide: Result<Array2<f64>, _> = npz.by_name("sigma");
    Ok(match wide {
        Ok(sigma) => sigma,
        Err(_) => npz
            .by_name::<ndarray::OwnedRepr<f32>, ndarray::Ix2>("sigma")
            .context("array sigma")?
            .mapv(f64::from),
    })
}

/// The same from memory.
pub fn parse(bytes: &[u8]) -> Result<Statistics> {
    check_sizes(bytes)?;
    let mut npz = NpzReader::new(Cursor::new(bytes)).context("not an .npz archive")?;
    let (mu, sigma) = (vector(&mut npz)?, matrix(&mut npz)?);
    let (d, shape) = (mu.len(), sigma.dim());
    ensure!(
        d > 0 && d <= MAX_FEATURES && shape == (d, d),
        "mu has {d} entries, sigma is {} x {}",
        shape.0,
        shape.1
    );
    let values: Vec<f64> = sigma.iter().copied().collect();
    ensure!(
        mu.iter().chain(&values).all(|v| v.is_finite()),
        "it holds NaN or infinity"
    );
    let sigma = Tensor::from_slice(&values).reshape([d as i64, d as i64]);
    Ok(Statistics {
        mu: Tensor::from_slice(&mu),
        sigma,
        count: 0,
    })
}

/// The bytes of a statistics file that pytorch-fid reads.
pub fn to_npz(statistics: &Statistics) -> Result<Vec<u8>> {
    let numbers = |t: &Tensor| {
        anyhow::Ok(Vec::<f64>::try_from(
            t.to_kind(Kind::Double)
                .to_device(tch::Device::Cpu)
                .flatten(0, -1),
        )?)
    };
    let mu = Array1::from(numbers(&statistics.mu)?);
    let sigma = Array2::from_shape_vec((mu.len(), mu.len()), numbers(&statistics.sigma)?)?;
    let mut npz = NpzWriter::new_compressed(Cursor::new(Vec::new()));
    npz.add_array("mu", &mu)?;
    npz.add_array("sigma", &sigma)?;
    Ok(npz.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_come_back_and_damage_is_refused() {
        tch::manual_seed(5);
        let statistics =
            Statistics::of(&Tensor::randn([20, 6], (Kind::Float, tch::Device::Cpu))).unwrap();
        let bytes = to_npz(&statistics).unwrap();
        let back = parse(&bytes).unwrap();
        assert!(back.mu.equal(&statistics.mu) && back.sigma.equal(&statistics.sigma));
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        // The archive's checksums notice a flipped bit wherever it could change a number.
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            if let Ok(read) = parse(&flipped) {
                assert!(
                    read.mu.equal(&statistics.mu) && read.sigma.equal(&statistics.sigma),
                    "byte {at}"
                );
            }
        }
        let wrong = Statistics {
            mu: Tensor::from_slice(&[1.0f64, f64::NAN]),
            sigma: Tensor::eye(2, (Kind::Double, tch::Device::Cpu)),
            count: 0,
        };
        assert!(format!("{:#}", parse(&to_npz(&wrong).unwrap()).unwrap_err()).contains("NaN"));
    }
}
