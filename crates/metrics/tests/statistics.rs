//! Statistics against numpy's and scipy's numbers (scripts/golden_statistics.py).

use egsde_metrics::intervals::{binomial_interval, bootstrap_interval, summary};
use egsde_metrics::kid::{kid, squared_mmd};
use egsde_metrics::precision_recall::precision_recall;
use serde_json::Value;
use tch::Tensor;

/// The numbers of numpy and scipy.
fn golden() -> Value {
    serde_json::from_str(include_str!("statistics.json")).unwrap()
}

fn feature(i: f64, j: f64, phase: f64) -> f64 {
    (1.7 * i + 0.31 * j * j + phase).sin() + 0.2 * (0.9 * i * (j + 1.0)).cos()
}

/// `[n, d]`.
fn features(n: usize, d: usize, phase: f64) -> Tensor {
    let mut values = Vec::new();
    for i in 0..n {
        values.extend((0..d).map(|j| feature(i as f64, j as f64, phase)));
    }
    Tensor::from_slice(&values).reshape([n as i64, d as i64])
}

fn two_sets() -> (Tensor, Tensor) {
    (features(40, 6, 0.0), features(50, 6, 0.4) * 0.9 + 0.2)
}

#[track_caller]
fn assert_near(got: f64, want: &Value, tolerance: f64) {
    let want = want.as_f64().unwrap();
    assert!((got - want).abs() <= tolerance, "{got} for {want}");
}

#[test]
fn squared_mmd_is_numpys() {
    let (x, y) = two_sets();
    assert_near(
        squared_mmd(&x, &y).unwrap(),
        &golden()["squared_mmd"],
        1e-10,
    );
}

#[test]
fn kid_is_the_mean_over_subsets_and_always_the_same() {
    let (x, y) = two_sets();
    let got = kid(&x, &y, 3).unwrap();
    assert_eq!((got, got.subset_size), (kid(&x, &y, 3).unwrap(), 20));
    // KID is unbiased: it lies within three standard errors of the estimate from all images.
    // Subsets overlap, so this bound is generous.
    assert_near(got.mean, &golden()["squared_mmd"], 3.0 * got.std / 10.0);
    assert!(kid(&x.narrow(0, 0, 3), &y, 3).is_err());
}

#[test]
fn precision_and_recall_are_scipys() {
    let (x, y) = two_sets();
    let got = precision_recall(&x, &y, 3).unwrap();
    assert_near(got.precision, &golden()["precision"], 1e-12);
    assert_near(got.recall, &golden()["recall"], 1e-12);
    assert!(precision_recall(&x.narrow(0, 0, 3), &y, 3).is_err());
}

#[test]
fn intervals_are_scipys() {
    let golden = golden();
    let seeds: Vec<f64> = serde_json::from_value(golden["seeds"].clone()).unwrap();
    let got = summary(&seeds).unwrap();
    assert_near(got.mean, &golden["mean"], 1e-12);
    assert_near(got.std.unwrap(), &golden["std"], 1e-12);
    assert_near(got.half_width.unwrap(), &golden["half_width"], 1e-9);
    for (name, want) in golden["binomial"].as_object().unwrap() {
        let (k, n) = name.split_once('/').unwrap();
        let got = binomial_interval(k.parse().unwrap(), n.parse().unwrap()).unwrap();
        assert_near(got.low, &want[0], 1e-6);
        assert_near(got.high, &want[1], 1e-6);
    }
}

#[test]
fn the_bootstrap_interval_is_scipys() {
    let values: Vec<f64> = (0..60).map(|i| (f64::from(i) * 1.3).sin() + 0.15).collect();
    // Over 40 seeds, 2,000 resamples put the ends within 0.011 of those of 200,000.
    for seed in 0..5 {
        let got = bootstrap_interval(values.len(), seed, |drawn| {
            drawn.iter().map(|i| values[*i]).sum::<f64>() / drawn.len() as f64
        });
        let got = got.unwrap();
        assert_near(got.low, &golden()["bootstrap"][0], 0.015);
        assert_near(got.high, &golden()["bootstrap"][1], 0.015);
        assert!(!got.excludes_zero());
    }
}
