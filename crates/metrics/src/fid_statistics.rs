//! Reference statistics in pytorch-fid's format: an `.npz` with `mu` `[d]` and `sigma` `[d, d]`.

use crate::frechet::Statistics;
use anyhow::{Context, Result, bail, ensure};
use egsde_data::file_kind::{ZIP, file_kind};
use egsde_data::files::read_bounded;
use ndarray::{Array1, Array2, ArrayD};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use std::io::{Cursor, Read};
use std::path::Path;
use tch::{Device, Kind, Tensor};
use zip::write::FileOptions;
use zip::{ZipArchive, ZipWriter};

/// Largest length of a feature vector; a header that claims more is refused before memory is taken.
const MAX_FEATURES: usize = 1 << 14;

/// Fraction of the largest variance or eigenvalue by which rounding to float32 may move another.
const LARGEST_ROUNDING: f64 = 1e-3;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// Reads statistics of `dimensions` features in float32 or float64. `mu` may be a row `[1, d]`.
///
/// # Errors
/// The file cannot be read or is damaged, its arrays have other names, kinds or shapes, it holds
/// NaN or infinity, or `sigma` is no covariance; the error names it.
pub fn read(path: &Path, dimensions: i64) -> Result<Statistics> {
    let bytes = read_bounded(path, (MAX_FEATURES * MAX_FEATURES * 9) as u64)?;
    parse_for(&bytes, dimensions)
        .with_context(|| format!("{} is not a usable statistics file", path.display()))
}

fn parse_for(bytes: &[u8], dimensions: i64) -> Result<Statistics> {
    let statistics = parse(bytes)?;
    let found = statistics.mu.size()[0];
    ensure!(
        found == dimensions,
        "they are of {found} features, FID Inception has {dimensions}"
    );
    check_eigenvalues(&statistics.sigma)?;
    Ok(statistics)
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

/// Names of the arrays in an archive, for messages.
fn array_names(archive: &Archive) -> String {
    let names: Vec<&str> = archive
        .file_names()
        .map(|name| name.trim_end_matches(".npy"))
        .collect();
    if names.is_empty() {
        return "nothing".into();
    }
    names.join(", ")
}

/// The unpacked bytes of the array `name`, which numpy keeps as the entry `name.npy`.
fn unpacked_array(archive: &mut Archive, name: &str) -> Result<Vec<u8>> {
    let entry = format!("{name}.npy");
    ensure!(
        archive.file_names().any(|held| held == entry),
        "it has no array {name}; it holds {}: save mean and covariance as mu and sigma \
         (numpy.savez(FILE, mu=..., sigma=...))",
        array_names(archive)
    );
    let mut bytes = Vec::new();
    archive
        .by_name(&entry)
        .and_then(|mut entry| Ok(entry.read_to_end(&mut bytes)?))
        .with_context(|| format!("array {name} is damaged"))?;
    Ok(bytes)
}

/// Kind and shape of an array as its header has them, for messages: `'<i8', (2048,)`.
fn described_array(bytes: &[u8]) -> String {
    let header = String::from_utf8_lossy(&bytes[..bytes.len().min(1 << 10)]);
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start());
    let kind = after("'descr':").and_then(|rest| rest.split_once(", 'fortran"));
    let shape = after("'shape':").and_then(|rest| rest.split_once(')'));
    match (kind, shape) {
        (Some((kind, _)), Some((shape, _))) => format!("of kind {kind} and shape {shape})"),
        _ => "no NumPy array".into(),
    }
}

/// The array `name` in float64, or in float32 widened.
fn read_array(archive: &mut Archive, name: &str) -> Result<ArrayD<f64>> {
    let bytes = unpacked_array(archive, name)?;
    if let Ok(array) = ArrayD::<f64>::read_npy(bytes.as_slice()) {
        return Ok(array);
    }
    if let Ok(array) = ArrayD::<f32>::read_npy(bytes.as_slice()) {
        return Ok(array.mapv(f64::from));
    }
    bail!(
        "array {name} is {}, or damaged; float32 or float64 is expected",
        described_array(&bytes)
    )
}

/// A shape without leading axes of length 1, down to `axes` axes.
fn without_leading_ones(shape: &[usize], axes: usize) -> &[usize] {
    let ones = shape.iter().take_while(|side| **side == 1).count();
    &shape[ones.min(shape.len().saturating_sub(axes))..]
}

/// Refuses matrices that are no covariance at a glance: of other numbers, not symmetric, with
/// variances below 0.
fn check_covariance_entries(sigma: &ArrayD<f64>, d: usize) -> Result<()> {
    let value = |i: usize, j: usize| sigma.as_slice().map_or(f64::NAN, |all| all[i * d + j]);
    let largest = (0..d).map(|i| value(i, i)).fold(0.0, f64::max);
    for i in 0..d {
        ensure!(
            value(i, i) >= -LARGEST_ROUNDING * largest && (largest > 0.0 || value(i, i) == 0.0),
            "sigma is no covariance: variance {i} is {}",
            value(i, i)
        );
        for j in 0..i {
            ensure!(
                (value(i, j) - value(j, i)).abs() <= LARGEST_ROUNDING * largest,
                "sigma is no covariance: it is not symmetric ({} at [{i}, {j}], {} at [{j}, {i}])",
                value(i, j),
                value(j, i)
            );
        }
    }
    Ok(())
}

/// Refuses a matrix with an eigenvalue below 0 by more than rounding.
fn check_eigenvalues(sigma: &Tensor) -> Result<()> {
    let (_, info) = sigma.linalg_cholesky_ex(false, false);
    if info.int64_value(&[]) == 0 {
        return Ok(());
    }
    let values = sigma.linalg_eigvalsh("L");
    let (least, largest) = (
        values.min().double_value(&[]),
        values.max().double_value(&[]),
    );
    ensure!(
        least >= -LARGEST_ROUNDING * largest.max(0.0),
        "sigma is no covariance: it has the eigenvalue {least}"
    );
    Ok(())
}

/// Parses a statistics file's bytes. Only [`read`] looks at the eigenvalues of the covariance.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8]) -> Result<Statistics> {
    let mut archive = match Archive::new(Cursor::new(bytes)) {
        Ok(archive) => archive,
        Err(error) => match file_kind(bytes) {
            Some(kind) if kind.name != ZIP => bail!("it is {}, not an .npz archive", kind.name),
            _ => return Err(error).context("not an .npz archive, or a truncated one"),
        },
    };
    check_sizes(&mut archive)?;
    let (mu, sigma) = (
        read_array(&mut archive, "mu")?,
        read_array(&mut archive, "sigma")?,
    );
    let d = mu.len();
    ensure!(
        d > 0
            && d <= MAX_FEATURES
            && mu.shape().iter().filter(|side| **side != 1).count() <= 1
            && without_leading_ones(sigma.shape(), 2) == [d, d],
        "mu has shape {:?} and sigma {:?}; [n] and [n, n] are expected",
        mu.shape(),
        sigma.shape()
    );
    let sigma = sigma.as_standard_layout().into_owned();
    ensure!(
        mu.iter().chain(&sigma).all(|v| v.is_finite()),
        "it holds NaN or infinity"
    );
    check_covariance_entries(&sigma, d)?;
    let (mu, sigma): (Vec<f64>, Vec<f64>) = (
        mu.iter().copied().collect(),
        sigma.iter().copied().collect(),
    );
    Ok(Statistics {
        mu: Tensor::from_slice(&mu),
        sigma: Tensor::from_slice(&sigma).reshape([d as i64, d as i64]),
        count: 0,
        factor: None,
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

    /// An archive of arrays by name.
    fn archive(arrays: &[(&str, &ArrayD<f64>)]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, array) in arrays {
            archive
                .start_file(format!("{name}.npy"), FileOptions::default())
                .unwrap();
            array.write_npy(&mut archive).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn array(shape: &[usize], values: &[f64]) -> ArrayD<f64> {
        ArrayD::from_shape_vec(shape, values.to_vec()).unwrap()
    }

    #[track_caller]
    fn assert_refused(bytes: &[u8], parts: &[&str]) {
        let error = format!("{:#}", parse_for(bytes, 2).unwrap_err());
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn a_mean_may_be_a_row_and_other_shapes_are_told() {
        let sigma = array(&[2, 2], &[2.0, 0.5, 0.5, 1.0]);
        for shape in [[1, 2], [2, 1]] {
            let mu = array(&shape, &[3.0, 4.0]);
            let read = parse_for(&archive(&[("mu", &mu), ("sigma", &sigma)]), 2).unwrap();
            assert_eq!(Vec::<f64>::try_from(&read.mu).unwrap(), [3.0, 4.0]);
        }
        let mu = array(&[2, 2], &[3.0; 4]);
        assert_refused(
            &archive(&[("mu", &mu), ("sigma", &sigma)]),
            &["mu has shape [2, 2] and sigma [2, 2]", "[n] and [n, n]"],
        );
        let mu = array(&[3], &[3.0; 3]);
        assert_refused(
            &archive(&[("mu", &mu), ("sigma", &sigma)]),
            &["mu has shape [3] and sigma [2, 2]"],
        );
        assert_refused(
            &archive(&[("mean", &mu), ("cov", &sigma)]),
            &["no array mu", "mean", "cov", "numpy.savez"],
        );
    }

    #[test]
    fn other_kinds_of_files_and_arrays_are_named() {
        assert_refused(b"<!doctype html>quota", &["a web page"]);
        assert_refused(b"\x93NUMPY\x01\0", &["a NumPy array"]);
        assert_refused(b"", &["empty"]);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("mu.npy", FileOptions::default()).unwrap();
        let whole = ndarray::array![1i64, 2];
        whole.write_npy(&mut writer).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert_refused(&bytes, &["array mu", "'<i8'", "(2,)", "float32 or float64"]);
        let three = Statistics::from_features(&Tensor::randn([9, 3], (Kind::Float, Device::Cpu)));
        assert_refused(&to_npz(&three.unwrap()).unwrap(), &["of 3 features"]);
    }

    #[test]
    fn a_matrix_that_is_no_covariance_is_refused() {
        let mu = array(&[2], &[0.0, 0.0]);
        for (values, part) in [
            ([-1.0, 0.0, 0.0, -2.0], "variance 0 is -1"),
            ([1.0, 0.0, 0.0, -2.0], "variance 1 is -2"),
            ([1.0, 0.5, 0.0, 1.0], "not symmetric"),
            ([1.0, 2.0, 2.0, 1.0], "eigenvalue -1"),
        ] {
            let sigma = array(&[2, 2], &values);
            let bytes = archive(&[("mu", &mu), ("sigma", &sigma)]);
            assert_refused(&bytes, &["sigma is no covariance", part]);
        }
        // Rank is no matter, nor is what rounding leaves below 0.
        for values in [[0.0; 4], [1.0, 1.0, 1.0, 1.0 - 1e-7]] {
            let sigma = array(&[2, 2], &values);
            parse_for(&archive(&[("mu", &mu), ("sigma", &sigma)]), 2).unwrap();
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
            factor: None,
        })
        .unwrap();
        assert!(format!("{:#}", parse(&bytes).unwrap_err()).contains("NaN"));
    }
}
