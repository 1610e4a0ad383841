//! Reference statistics in pytorch-fid's format: an `.npz` with `mu` `[d]` and `sigma` `[d, d]`.

use crate::frechet::Statistics;
use anyhow::{Context, Result, ensure};
use egsde_data::files::read_bounded;
use ndarray::{Array1, Array2};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use std::io::{Cursor, Read};
use std::path::Path;
use tch::{Device, Kind, Tensor};
use zip::write::FileOptions;
use zip::{ZipArchive, ZipWriter};

/// Largest length of a feature vector; a header that claims more is refused before memory is taken.
const MAX_FEATURES: usize = 1 << 14;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// Reads statistics in float32 or float64.
///
/// # Errors
/// The file cannot be read or is damaged, its shapes do not fit, or it holds NaN or infinity; the
/// error names it.
pub fn read(path: &Path) -> Result<Statistics> {
    let bytes = read_bounded(path, (MAX_FEATURES * MAX_FEATURES * 9) as u64)?;
    parse(&bytes).with_context(|| format!("{} is not a usable statistics file", path.display()))
}

/// Refuses an archive whose entries claim to unpack to more than statistics can have.
fn check_sizes(archive: &mut Archive) -> Result<()> {
    let limit = (MAX_FEATURES * MAX_FEATURES * 8) as u64;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i)?;
        // Deflate packs at most about 1,032 to 1; a larger claim is false.
        let possible = entry
            .compressed_size()
            .saturating_mul(1100)
            .min(limit)
            .max(1024);
        let (name, size) = (entry.name(), entry.size());
        ensure!(size <= possible, "entry {name} claims {size} bytes");
    }
    Ok(())
}

/// The unpacked bytes of the array `name`, which numpy keeps as the entry `name.npy`.
fn unpacked_array(archive: &mut Archive, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    archive
        .by_name(&format!("{name}.npy"))
        .and_then(|mut entry| Ok(entry.read_to_end(&mut bytes)?))
        .with_context(|| format!("array {name}"))?;
    Ok(bytes)
}

/// `mu` in float64, or in float32 widened.
fn read_mu(archive: &mut Archive) -> Result<Vec<f64>> {
    let bytes = unpacked_array(archive, "mu")?;
    if let Ok(mu) = Array1::<f64>::read_npy(bytes.as_slice()) {
        return Ok(mu.into_iter().collect());
    }
    let float32 = Array1::<f32>::read_npy(bytes.as_slice()).context("array mu")?;
    Ok(float32.into_iter().map(f64::from).collect())
}

/// `sigma` in float64, or in float32 widened.
fn read_sigma(archive: &mut Archive) -> Result<Array2<f64>> {
    let bytes = unpacked_array(archive, "sigma")?;
    if let Ok(sigma) = Array2::<f64>::read_npy(bytes.as_slice()) {
        return Ok(sigma);
    }
    let float32 = Array2::<f32>::read_npy(bytes.as_slice()).context("array sigma")?;
    Ok(float32.mapv(f64::from))
}

/// Parses a statistics file's bytes.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8]) -> Result<Statistics> {
    let mut archive = Archive::new(Cursor::new(bytes)).context("not an .npz archive")?;
    check_sizes(&mut archive)?;
    let (mu, sigma) = (read_mu(&mut archive)?, read_sigma(&mut archive)?);
    let (d, (rows, columns)) = (mu.len(), sigma.dim());
    ensure!(
        d > 0 && d <= MAX_FEATURES && (rows, columns) == (d, d),
        "mu has {d} entries, sigma is {rows} x {columns}"
    );
    let sigma: Vec<f64> = sigma.iter().copied().collect();
    ensure!(
        mu.iter().chain(&sigma).all(|v| v.is_finite()),
        "it holds NaN or infinity"
    );
    let sigma = Tensor::from_slice(&sigma).reshape([d as i64, d as i64]);
    Ok(Statistics {
        mu: Tensor::from_slice(&mu),
        sigma,
        count: 0,
    })
}

/// All values of a tensor in row-major order.
fn flat_values(x: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::try_from(
        x.to_kind(Kind::Double)
            .to_device(Device::Cpu)
            .flatten(0, -1),
    )?)
}

/// The bytes of a statistics file that pytorch-fid reads.
///
/// # Errors
/// Statistics that are no vector and square matrix.
pub fn to_npz(statistics: &Statistics) -> Result<Vec<u8>> {
    let mu = Array1::from(flat_values(&statistics.mu)?);
    let sigma = Array2::from_shape_vec((mu.len(), mu.len()), flat_values(&statistics.sigma)?)?;
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("mu.npy", FileOptions::default())?;
    mu.write_npy(&mut archive)?;
    archive.start_file("sigma.npy", FileOptions::default())?;
    sigma.write_npy(&mut archive)?;
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Statistics {
        tch::manual_seed(5);
        let features = Tensor::randn([20, 6], (Kind::Float, Device::Cpu));
        Statistics::from_features(&features).unwrap()
    }

    fn are_equal(a: &Statistics, b: &Statistics) -> bool {
        a.mu.equal(&b.mu) && a.sigma.equal(&b.sigma)
    }

    #[test]
    fn statistics_come_back_and_damage_is_refused() {
        let statistics = example();
        let bytes = to_npz(&statistics).unwrap();
        assert!(are_equal(&parse(&bytes).unwrap(), &statistics));
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        // The archive's checksums notice a flipped bit wherever it could change a number.
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            if let Ok(read) = parse(&flipped) {
                assert!(are_equal(&read, &statistics), "byte {at}");
            }
        }
    }

    #[test]
    fn nan_is_refused() {
        let mu = Tensor::from_slice(&[1.0f64, f64::NAN]);
        let sigma = Tensor::eye(2, (Kind::Double, Device::Cpu));
        let bytes = to_npz(&Statistics {
            mu,
            sigma,
            count: 0,
        })
        .unwrap();
        assert!(format!("{:#}", parse(&bytes).unwrap_err()).contains("NaN"));
    }
}
