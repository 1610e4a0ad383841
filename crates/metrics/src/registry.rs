//! The metrics: each with its name, how it is shown, compared and computed, at this one place.
//! Jobs, `egsde eval`, tables, baselines, differences and curves take a metric from here.
//!
//! A new metric is a function in a file of its own and an entry of `metrics!` below.

use crate::averages::mean;
use crate::feature_sets::{FeatureSets, fid, kid_mean, kid_subset_std, precision, recall};
use crate::pairwise;
use crate::target_share::{
    ClassifierLogits, reference_target_share, source_target_share, target_share,
};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::fmt;
use tch::Tensor;

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Distances and errors, such as FID and L2.
    LowerIsBetter,
    /// Similarities and rates, such as SSIM and recall.
    HigherIsBetter,
}

/// Where a metric is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// In every table that has a value of it.
    Always,
    /// In tables of experiments that ask for precision and recall.
    OnRequest,
    /// Only in files of scores.
    FilesOnly,
}

/// How a metric is computed.
#[derive(Clone, Copy)]
pub enum Computation {
    /// One number per image, from sources and translations, both `[n, 3, h, w]` in [0, 1]; a job's
    /// value is their mean.
    PerImage(fn(source: &Tensor, translated: &Tensor) -> Result<Vec<f64>>),
    /// One number from the features of all translations and of the reference; none where these sets
    /// do not allow it.
    OverSets(fn(sets: &FeatureSets) -> Result<Option<f64>>),
    /// One number from what a classifier says of the images; none where no classifier knows the
    /// target, as in the published protocols.
    FromClassifier(fn(logits: &ClassifierLogits) -> f64),
    /// Not computed from images: people's answers (`egsde study`).
    FromAnswers,
    /// Not computed from images: what it cost to make them, by the records of their jobs.
    FromCosts,
}

/// One metric.
pub struct Metric {
    /// Name in files.
    pub key: &'static str,
    /// Name for people.
    pub heading: &'static str,
    /// Decides which row is the best one of a table's column.
    pub direction: Direction,
    /// Decimal places that are shown.
    pub digits: usize,
    /// Shown numbers are this times the stored ones.
    pub scale: f64,
    /// The tables that have a column for it; score files hold every metric.
    pub visibility: Visibility,
    /// Largest fraction of a stored number by which a new one may differ; a metric without one is
    /// not held against baselines.
    ///
    /// Measured between two processors (Intel with AMX, AMD with AVX2 only) on the CI rows at 32
    /// images: fid 4.0e-5, l2 7.0e-7, psnr 3.1e-7, ssim 2.4e-8; thread counts and batches between
    /// writes move nothing. Two processors are few, so these are 25 times that or more. KID was
    /// measured on one only and takes ten times fid's.
    pub tolerance: Option<f64>,
    /// The function that computes it and the inputs that function takes.
    pub computation: Computation,
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metric({})", self.key)
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// Declares the metrics, and [`METRICS`] of all of them.
macro_rules! metrics {
    ($($(#[$doc:meta])* pub static $name:ident: Metric = $metric:expr;)+) => {
        $($(#[$doc])* pub static $name: Metric = $metric;)+

        /// All metrics, in table order.
        pub static METRICS: [&Metric; [$(stringify!($name)),+].len()] = [$(&$name),+];
    };
}

// In table order.
metrics! {
    /// The Fréchet distance between the features of translations and reference images.
    pub static FID: Metric = Metric {
        key: "fid",
        heading: "FID",
        direction: Direction::LowerIsBetter,
        digits: 2,
        scale: 1.0,
        visibility: Visibility::Always,
        tolerance: Some(1e-3),
        computation: Computation::OverSets(fid),
    };

    /// The kernel Inception distance.
    pub static KID: Metric = Metric {
        key: "kid",
        heading: "KID x 1000",
        direction: Direction::LowerIsBetter,
        digits: 2,
        scale: 1000.0,
        visibility: Visibility::Always,
        tolerance: Some(1e-2),
        computation: Computation::OverSets(kid_mean),
    };

    /// Standard deviation of the kernel Inception distance over its subsets.
    pub static KID_SUBSET_STD: Metric = Metric {
        key: "kid_subset_std",
        heading: "KID subset std x 1000",
        direction: Direction::LowerIsBetter,
        digits: 2,
        scale: 1000.0,
        visibility: Visibility::FilesOnly,
        tolerance: None,
        computation: Computation::OverSets(kid_subset_std),
    };

    /// Euclidean distance between source and translation.
    pub static L2: Metric = Metric {
        key: "l2",
        heading: "L2",
        direction: Direction::LowerIsBetter,
        digits: 2,
        scale: 1.0,
        visibility: Visibility::Always,
        tolerance: Some(5e-5),
        computation: Computation::PerImage(pairwise::l2),
    };

    /// Peak signal-to-noise ratio of the translation against its source.
    pub static PSNR: Metric = Metric {
        key: "psnr",
        heading: "PSNR",
        direction: Direction::HigherIsBetter,
        digits: 2,
        scale: 1.0,
        visibility: Visibility::Always,
        tolerance: Some(5e-5),
        computation: Computation::PerImage(pairwise::psnr),
    };

    /// Structural similarity of the translation to its source.
    pub static SSIM: Metric = Metric {
        key: "ssim",
        heading: "SSIM",
        direction: Direction::HigherIsBetter,
        digits: 3,
        scale: 1.0,
        visibility: Visibility::Always,
        tolerance: Some(1e-5),
        computation: Computation::PerImage(pairwise::ssim_per_image),
    };

    /// How often people preferred a method to EGSDE (the slides' AMT column).
    pub static AMT: Metric = Metric {
        key: "amt",
        heading: "AMT %",
        direction: Direction::HigherIsBetter,
        digits: 1,
        scale: 100.0,
        visibility: Visibility::Always,
        tolerance: None,
        computation: Computation::FromAnswers,
    };

    /// Precision of the translations among reference images (Kynkäänniemi et al. 2019).
    pub static PRECISION: Metric = Metric {
        key: "precision",
        heading: "Precision",
        direction: Direction::HigherIsBetter,
        digits: 3,
        scale: 1.0,
        visibility: Visibility::OnRequest,
        tolerance: None,
        computation: Computation::OverSets(precision),
    };

    /// Recall of the reference images by translations (Kynkäänniemi et al. 2019).
    pub static RECALL: Metric = Metric {
        key: "recall",
        heading: "Recall",
        direction: Direction::HigherIsBetter,
        digits: 3,
        scale: 1.0,
        visibility: Visibility::OnRequest,
        tolerance: None,
        computation: Computation::OverSets(recall),
    };

    /// How many of the translations a classifier calls the target.
    pub static TARGET_SHARE: Metric = Metric {
        key: "target_share",
        heading: "Called target %",
        direction: Direction::HigherIsBetter,
        digits: 1,
        scale: 100.0,
        visibility: Visibility::Always,
        tolerance: None,
        computation: Computation::FromClassifier(target_share),
    };

    /// How many of the sources that classifier calls the target.
    pub static SOURCE_TARGET_SHARE: Metric = Metric {
        key: "source_target_share",
        heading: "Sources called target %",
        direction: Direction::LowerIsBetter,
        digits: 1,
        scale: 100.0,
        visibility: Visibility::FilesOnly,
        tolerance: None,
        computation: Computation::FromClassifier(source_target_share),
    };

    /// How many of the reference images that classifier calls the target.
    pub static REFERENCE_TARGET_SHARE: Metric = Metric {
        key: "reference_target_share",
        heading: "Reference called target %",
        direction: Direction::HigherIsBetter,
        digits: 1,
        scale: 100.0,
        visibility: Visibility::FilesOnly,
        tolerance: None,
        computation: Computation::FromClassifier(reference_target_share),
    };

    /// Evaluations per image of the network that makes it: steps of a diffusion network; one of a
    /// generator that translates at once.
    pub static EVALUATIONS: Metric = Metric {
        key: "evaluations",
        heading: "Evaluations",
        direction: Direction::LowerIsBetter,
        digits: 0,
        scale: 1.0,
        visibility: Visibility::Always,
        tolerance: None,
        computation: Computation::FromCosts,
    };

    /// Seconds of sampling per image, files written included.
    pub static SECONDS: Metric = Metric {
        key: "seconds",
        heading: "s per picture",
        direction: Direction::LowerIsBetter,
        digits: 3,
        scale: 1.0,
        visibility: Visibility::Always,
        tolerance: None,
        computation: Computation::FromCosts,
    };

    /// Seconds of these inside networks.
    pub static NETWORK_SECONDS: Metric = Metric {
        key: "network_seconds",
        heading: "s in networks",
        direction: Direction::LowerIsBetter,
        digits: 3,
        scale: 1.0,
        visibility: Visibility::Always,
        tolerance: None,
        computation: Computation::FromCosts,
    };
}

/// The metrics that decide whether images must be scored: all but costs. Those from answers belong
/// to them, since the identities of finished scores name them.
pub fn scored_metrics() -> Vec<&'static Metric> {
    METRICS
        .into_iter()
        .filter(|metric| !metric.is_cost())
        .collect()
}

/// The metrics whose differences between rows have a paired interval, in table order: those per
/// image, and the Fréchet distance.
pub fn paired_metrics() -> Vec<&'static Metric> {
    METRICS
        .into_iter()
        .filter(|metric| metric.is_paired())
        .collect()
}

impl Metric {
    /// Heading with the direction that is better.
    pub fn heading_with_arrow(&self) -> String {
        let arrow = match self.direction {
            Direction::LowerIsBetter => "↓",
            Direction::HigherIsBetter => "↑",
        };
        format!("{} {arrow}", self.heading)
    }

    /// Orders two values, the better one first.
    pub fn compare(&self, a: f64, b: f64) -> std::cmp::Ordering {
        match self.direction {
            Direction::LowerIsBetter => a.total_cmp(&b),
            Direction::HigherIsBetter => b.total_cmp(&a),
        }
    }

    /// Whether each image has a value of its own.
    pub fn is_per_image(&self) -> bool {
        matches!(self.computation, Computation::PerImage(_))
    }

    /// Whether it is computed from images.
    pub fn is_from_images(&self) -> bool {
        match self.computation {
            Computation::PerImage(_)
            | Computation::OverSets(_)
            | Computation::FromClassifier(_) => true,
            Computation::FromAnswers | Computation::FromCosts => false,
        }
    }

    /// Whether it tells what images cost, not how good they are.
    pub fn is_cost(&self) -> bool {
        matches!(self.computation, Computation::FromCosts)
    }

    /// Whether differences between two rows have a paired interval.
    pub fn is_paired(&self) -> bool {
        self.is_per_image() || *self == FID
    }
}

/// Per-image values by metric, each in the order of the images.
pub type PerImageValues = BTreeMap<String, Vec<f64>>;

/// The values of all per-image metrics among `metrics` for sources and translations, both
/// `[n, 3, h, w]` in [0, 1].
///
/// # Errors
/// Shapes that differ, or images too small for a metric.
pub fn per_image_values(
    metrics: &[&'static Metric],
    source: &Tensor,
    translated: &Tensor,
) -> Result<PerImageValues> {
    let mut values = PerImageValues::new();
    for metric in metrics {
        if let Computation::PerImage(compute) = metric.computation {
            values.insert(metric.key.into(), compute(source, translated)?);
        }
    }
    Ok(values)
}

/// All values of a set of translations: means of the per-image metrics, and the metrics over sets.
///
/// # Errors
/// A metric that cannot be computed, or whose value is not finite.
pub fn values(
    metrics: &[&'static Metric],
    per_image: &PerImageValues,
    sets: &FeatureSets,
) -> Result<BTreeMap<String, f64>> {
    let mut values = BTreeMap::new();
    for metric in metrics {
        let value = match metric.computation {
            Computation::PerImage(_) => per_image.get(metric.key).map(|column| mean(column)),
            Computation::OverSets(compute) => compute(sets)?,
            Computation::FromClassifier(compute) => sets.classified.as_ref().map(compute),
            Computation::FromAnswers | Computation::FromCosts => None,
        };
        if let Some(value) = value {
            ensure!(value.is_finite(), "{} is {value}", metric.key);
            values.insert(metric.key.to_string(), value);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;
    use tch::{Device, Kind};

    #[test]
    fn keys_are_distinct() {
        let keys: std::collections::BTreeSet<_> = METRICS.iter().map(|metric| metric.key).collect();
        assert_eq!(keys.len(), METRICS.len());
    }

    #[test]
    fn a_single_image_has_the_metrics_per_image_alone() {
        tch::manual_seed(6);
        let draw = |shape: &[i64]| Tensor::rand(shape, (Kind::Float, Device::Cpu));
        let (source, translated) = (draw(&[1, 3, 16, 16]), draw(&[1, 3, 16, 16]));
        let per_image = per_image_values(&METRICS, &source, &translated).unwrap();
        let reference = Reference::from_features(draw(&[9, 5])).unwrap();
        let (one, two) = (draw(&[1, 5]), draw(&[2, 5]));
        let keys = |features: &Tensor| -> Vec<String> {
            let sets = FeatureSets::new(features, &reference);
            let found = values(&METRICS, &per_image, &sets).unwrap();
            found.into_keys().collect()
        };
        assert_eq!(keys(&one), ["l2", "psnr", "ssim"]);
        assert_eq!(keys(&two), ["fid", "l2", "psnr", "ssim"]);
    }

    #[test]
    fn values_come_from_the_registry_and_statistics_alone_give_fid_only() {
        tch::manual_seed(5);
        let draw = |shape: &[i64]| Tensor::rand(shape, (Kind::Float, Device::Cpu));
        let (source, translated) = (draw(&[8, 3, 16, 16]), draw(&[8, 3, 16, 16]));
        let (features, real) = (draw(&[8, 5]), draw(&[9, 5]));
        let per_image = per_image_values(&METRICS, &source, &translated).unwrap();
        let reference = Reference::from_features(real).unwrap();
        let mut sets = FeatureSets::new(&features, &reference);
        sets.classified = Some(ClassifierLogits {
            target: 1,
            sources: draw(&[8, 3]),
            translated: draw(&[8, 3]),
            reference: draw(&[9, 3]),
        });
        let all = values(&METRICS, &per_image, &sets).unwrap();
        let keys: Vec<&str> = all.keys().map(String::as_str).collect();
        let computed = METRICS.iter().filter(|metric| metric.is_from_images());
        let wanted: std::collections::BTreeSet<&str> = computed.map(|metric| metric.key).collect();
        let wanted: Vec<&str> = wanted.into_iter().collect();
        assert_eq!(keys, wanted);
        let statistics = Reference::from_statistics(reference.statistics);
        let sets = FeatureSets::new(&features, &statistics);
        let fewer = values(&METRICS, &per_image, &sets).unwrap();
        let missing: Vec<_> = all.keys().filter(|key| !fewer.contains_key(*key)).collect();
        assert_eq!(
            missing,
            [
                "kid",
                "kid_subset_std",
                "precision",
                "recall",
                "reference_target_share",
                "source_target_share",
                "target_share",
            ]
        );
    }
}
