//! Pictures, data sets and image-translation metrics. Knows no method and no experiment.

pub mod cifar10;
pub mod frechet;
pub mod image_file;
pub mod kid;
pub mod pair;
pub mod pictures;
pub mod precision_recall;
pub mod protocol;
pub mod resize;
pub mod spread;
pub mod statistics_file;
