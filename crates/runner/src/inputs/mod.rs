//! Files an experiment needs: tasks, manifests of published files, data set archives, image
//! folders.

pub mod archive;
pub mod cropped;
pub mod hashed;
pub mod image_folder;
pub mod image_kind;
pub mod image_name;
pub mod image_source;
pub mod manifest;
pub mod network_file;
pub mod own_pictures;
pub mod own_task;
pub mod references;
pub mod task;
