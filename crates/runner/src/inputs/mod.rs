//! Files an experiment needs: tasks, manifests of published files, data set archives, image
//! folders.

pub mod archive;
pub mod image_folder;
pub mod manifest;
pub mod task;
