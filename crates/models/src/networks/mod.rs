//! The network families, one file each, and what all of them have in common.
//!
//! A new family is a file and its line in `families!` below. The file holds
//!
//! - the configuration, a serde struct with a method `check(&self) -> Result<()>`;
//! - the network, with `new(path: &Path, config) -> Self`, which registers its weights;
//! - what a frozen network offers, as `impl Loaded<Network>`.
//!
//! The line declares the file and makes the rest: the variant of [`NetworkConfig`], [`Build`], and
//! every dispatch over the families. A family that predicts noise stands under `diffusion` and
//! implements [`NoisePredictor`] too.

mod adm_blocks;
mod attention;
mod config;
mod diffusion;
mod families;
mod loaded;
mod timing;

pub use config::{NETWORK_KEY, config_from_metadata};
pub use diffusion::{Diffusion, NoisePredictor};
pub use loaded::{Build, Loaded};
pub use timing::seconds_in_networks;

families::families! {
    diffusion {
        adm_unet::AdmUnet(AdmUnetConfig) = "adm_unet";
        ddpm_unet::DdpmUnet(DdpmUnetConfig) = "ddpm_unet";
    }
    others {
        dse::Dse(DseConfig) = "dse";
        cifar_features::CifarFeatures(CifarFeaturesConfig) = "cifar_features";
        inception::Inception(InceptionConfig) = "inception";
    }
}
