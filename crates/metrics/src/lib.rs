//! Pictures, data sets and image-translation metrics. Knows no method and no experiment.

pub mod cifar10;
pub mod frechet;
pub mod image_file;
pub mod pair;
pub mod pictures;
pub mod protocol;
pub mod resize;
pub mod statistics_file;
