//! Networks of EGSDE and the ways their weights come in. Knows no YAML, no method and no experiment.

mod adm;
pub mod adm_unet;
pub mod checkpoint;
pub mod cifar_features;
mod cpu;
pub mod cuda;
pub mod ddpm_unet;
pub mod dse;
pub mod files;
pub mod gradient;
pub mod inception;
pub mod layers;
pub mod network;
pub mod synthetic;
pub mod tf32;
pub mod weights;

pub use adm_unet::AdmUnet;
pub use cifar_features::CifarFeatures;
pub use cpu::bf16::processor_has_it as processor_has_bf16;
pub use cpu::take_part as own_kernels_take_part;
pub use ddpm_unet::DdpmUnet;
pub use dse::Dse;
pub use inception::Inception;
pub use network::{Loaded, NetworkConfig};
