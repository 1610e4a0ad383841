#!/usr/bin/env python3
"""Writes numbers of numpy and scipy with which the metrics crate's tests compare their own
(crates/metrics/tests/statistics.json).

    python3 -m venv /tmp/v
    /tmp/v/bin/pip install numpy==2.4.6 scipy==1.17.1
    /tmp/v/bin/python scripts/golden_statistics.py
"""
import json
import pathlib

import numpy as np
import scipy
from scipy import stats
from scipy.spatial.distance import cdist

OUTPUT = pathlib.Path(__file__).parent.parent / "crates/metrics/tests/statistics.json"
# FID of five seeds.
SEEDS = [3.28, 4.1, 2.95, 3.6, 3.33]


def features(n, d, phase):
    """Features by formula, so that no file need be shipped."""
    i, j = np.meshgrid(np.arange(n), np.arange(d), indexing="ij")
    return np.sin(1.7 * i + 0.31 * j * j + phase) + 0.2 * np.cos(0.9 * i * (j + 1))


def kernel(a, b):
    """KID's polynomial kernel."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def mean_off_diagonal(m):
    return (m.sum() - np.trace(m)) / (len(m) * (len(m) - 1))


def squared_mmd(x, y):
    within = mean_off_diagonal(kernel(x, x)) + mean_off_diagonal(kernel(y, y))
    return within - 2 * kernel(x, y).mean()


def fraction_inside(points, others, k):
    """How many points lie within the distance of some other point to its k-th neighbour."""
    radius = np.sort(cdist(others, others), axis=1)[:, k]
    return float((cdist(points, others) <= radius[None]).any(axis=1).mean())


def bootstrap_interval(values):
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=200_000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    return [found.confidence_interval.low, found.confidence_interval.high]


def exact_interval(successes, trials):
    return list(stats.binomtest(successes, trials).proportion_ci(0.95, "exact"))


def main():
    x, y = features(40, 6, 0.0), features(50, 6, 0.4) * 0.9 + 0.2
    counts = [(0, 20), (13, 20), (20, 20), (61, 100)]
    document = {
        "made_by": f"numpy {np.__version__}, scipy {scipy.__version__}",
        "squared_mmd": squared_mmd(x, y),
        "precision": fraction_inside(x, y, 3),
        "recall": fraction_inside(y, x, 3),
        "seeds": SEEDS,
        "mean": np.mean(SEEDS),
        "std": float(np.std(SEEDS, ddof=1)),
        "half_width": stats.t.ppf(0.975, len(SEEDS) - 1) * stats.sem(SEEDS),
        "bootstrap": bootstrap_interval(np.sin(np.arange(60) * 1.3) + 0.15),
        "binomial": {f"{k}/{n}": exact_interval(k, n) for k, n in counts},
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
