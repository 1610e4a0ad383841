//! Statistics against numpy's and scipy's numbers (scripts/golden_statistics).

use egsde_metrics::kid::{kid, squared_mmd};
use egsde_metrics::precision_recall::precision_recall;
use egsde_metrics::spread::{binomial, bootstrap, summary};
use serde_json::Value;
use tch::Tensor;

fn golden() -> Value {
    serde_json::from_str(include_str!("statistics.json")).unwrap()
}

fn features(n: usize, d: usize, phase: f64) -> Tensor {
    let value =
        |i: f64, j: f64| (1.7 * i + 0.31 * j * j + phase).sin() + 0.2 * (0.9 * i * (j + 1.0)).cos();
    let values: Vec<f64> = (0..n)
        .flat_map(|i| (0..d).map(move |j| value(i as f64, j as f64)))
        .collect();
    Tensor::from_slice(&values).reshape([n as i64, d as i64])
}

fn both() -> (Tensor, Tensor) {
    (features(40, 6, 0.0), features(50, 6, 0.4) * 0.9 + 0.2)
}

#[track_caller]
fn near(got: f64, want: &Value, tolerance: f64) {
    let want = want.as_f64().unwrap();
    assert!((got - want).abs() <= tolerance, "{got} for {want}");
}

#[test]
fn squared_mmd_is_numpys() {
    let (x, y) = both();
    near(
        squared_mmd(&x, &y).unwrap(),
        &golden()["squared_mmd"],
        1e-10,
    );
}

#[test]
fn kid_is_the_mean_over_subsets_and_always_the_same() {
    let (x, y) = both();
    let got = kid(&x, &y, 3).unwrap();
    assert_eq!((got, got.subset_size), (kid(&x, &y, 3).unwrap(), 20));
    // Unbiased: within three standard errors of the estimate from all pictures. Subsets overlap, so this is generous.
    near(got.mean, &golden()["squared_mmd"], 3.0 * got.std / 10.0);
    assert!(kid(&x.narrow(0, 0, 3), &y, 3).is_err());
}

#[test]
fn precision_and_recall_are_scipys() {
    let (x, y) = both();
    let got = precision_recall(&x, &y, 3).unwrap();
    near(got.precision, &golden()["precision"], 1e-12);
    near(got.recall, &golden()["recall"], 1e-12);
    assert!(precision_recall(&x.narrow(0, 0, 3), &y, 3).is_err());
}

#[test]
fn intervals_are_scipys() {
    let golden = golden();
    let seeds: Vec<f64> = golden["seeds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect();
    let got = summary(&seeds).unwrap();
    near(got.mean, &golden["mean"], 1e-12);
    near(got.std.unwrap(), &golden["std"], 1e-12);
    near(got.half_width.unwrap(), &golden["half_width"], 1e-9);
    for (name, want) in golden["binomial"].as_object().unwrap() {
        let (k, n) = name.split_once('/').unwrap();
        let got = binomial(k.parse().unwrap(), n.parse().unwrap()).unwrap();
        near(got.low, &want[0], 1e-6);
        near(got.high, &want[1], 1e-6);
    }
}

#[test]
fn the_bootstrap_interval_is_scipys() {
    let pictures: Vec<f64> = (0..60).map(|i| (f64::from(i) * 1.3).sin() + 0.15).collect();
    let mean =
        |drawn: &[usize]| drawn.iter().map(|i| pictures[*i]).sum::<f64>() / drawn.len() as f64;
    // Over 40 seeds 2,000 resamples put the ends within 0.011 of those of 200,000.
    for seed in 0..5 {
        let got = bootstrap(pictures.len(), seed, mean).unwrap();
        near(got.low, &golden()["bootstrap"][0], 0.015);
        near(got.high, &golden()["bootstrap"][1], 0.015);
        assert!(!got.excludes_zero());
    }
}
