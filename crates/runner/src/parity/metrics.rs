//! Golden cases of the metrics.

use super::case::{Case, number, parse, text};
use super::images::read_images;
use anyhow::{Result, ensure};
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::pairwise::{l2, mse, psnr, ssim_per_image};
use egsde_metrics::protocol::pair_input;
use std::collections::BTreeMap;
use tch::Tensor;

/// A metric of pairs, one number per pair.
type PairMetric = fn(&Tensor, &Tensor) -> Result<Vec<f64>>;

/// The metrics of pairs with their names in the case.
const PAIR_METRICS: [(&str, PairMetric); 4] = [
    ("l2", l2),
    ("mse", mse),
    ("psnr", psnr),
    ("ssim", ssim_per_image),
];

/// The images of a folder as the pair metrics see them.
fn pair_inputs(case: &Case, key: &str) -> Result<Vec<Tensor>> {
    let images = read_images(&case.folder.join(text(case.value, key)?))?;
    images.iter().map(pair_input).collect()
}

/// L2, MSE, PSNR and SSIM of each pair, and their means.
pub fn pair_metrics(case: &mut Case) -> Result<()> {
    let tolerance = number(case.value, "rel_tol")?;
    let (sources, translated) = (
        pair_inputs(case, "source")?,
        pair_inputs(case, "translated")?,
    );
    let rows: Vec<BTreeMap<String, f64>> = parse(case.value, "expected_rows")?;
    let (count, images) = (rows.len(), [sources.len(), translated.len()]);
    ensure!(images == [count; 2], "{count} rows, {images:?} images");
    for (key, metric) in PAIR_METRICS {
        let mut mean = 0.0;
        for ((source, translation), want) in sources.iter().zip(&translated).zip(&rows) {
            let (got, want) = (metric(source, translation)?[0], number_in(want, key)?);
            case.note((got - want).abs() / want.abs(), tolerance);
            mean += got / count as f64;
        }
        let want = number(&case.value["expected_mean"], key)?;
        case.note((mean - want).abs() / want.abs(), tolerance);
    }
    Ok(())
}

/// A number of an expected row.
fn number_in(row: &BTreeMap<String, f64>, key: &str) -> Result<f64> {
    let number = row.get(key).copied();
    ensure!(number.is_some(), "an expected row has no {key:?}");
    Ok(number.unwrap_or_default())
}

/// The Fréchet distance of two sets of features.
pub fn frechet(case: &mut Case) -> Result<()> {
    let x = case.stored(text(case.value, "x")?)?;
    let y = case.stored(text(case.value, "y")?)?;
    let (x, y) = (
        Statistics::from_features(&x)?,
        Statistics::from_features(&y)?,
    );
    let got = frechet_distance(&x, &y)?;
    let want = number(case.value, "expected")?;
    case.note(
        (got - want).abs() / want.abs(),
        number(case.value, "rel_tol")?,
    );
    Ok(())
}
