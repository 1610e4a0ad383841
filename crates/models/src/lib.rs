//! The networks of EGSDE and the ways their weights come in. This crate knows no YAML, no method
//! and no experiment.

// Either may lie on a full disk; the binary alone writes to them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod checkpoints;
pub mod comparison;
pub mod cuda;
mod elements;
mod fixed_entries;
pub mod gradient;
mod kernels;
pub mod layers;
pub mod networks;
pub mod synthetic;
pub mod tf32;
pub mod weights;

pub use kernels::bf16::processor_has_bf16;
pub use kernels::kernels_in_use;
pub use kernels::parallel::{in_one_thread, limit_threads};
pub use networks::{
    AdmUnet, CifarFeatures, DdpmUnet, Diffusion, Dse, Inception, Loaded, NetworkConfig, PatchMlp,
    Patchgan, ResnetGenerator, StarganV2, StarganV2Discriminator, StarganV2Generator,
    StarganV2Mapping, StarganV2StyleEncoder, WingFan,
};
