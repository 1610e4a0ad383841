//! Pictures, data sets and image-translation metrics. Knows no method and no experiment.

pub mod cifar10;
pub mod frechet;
pub mod pair;
pub mod pictures;
