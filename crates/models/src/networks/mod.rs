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
mod adm_unet_config;
mod attention;
mod config;
mod ddpm_unet_config;
mod diffusion;
mod families;
mod heads;
mod keys;
mod likely;
mod likely_adm;
mod likely_gans;
mod likely_shapes;
mod loaded;
mod multipliers;
mod noise_norms;
mod sequential;
mod stargan_v2_blocks;
mod timing;
pub mod wing_masks;

pub use config::{NETWORK_KEY, config_from_metadata};
pub use diffusion::{Diffusion, NoisePredictor};
pub use likely::{LikelyNetwork, likely_network};
pub use likely_shapes::Shapes;
pub use loaded::{Build, Loaded, read_checkpoint_of};
pub use multipliers::Multiplier;
pub use noise_norms::{NOISE_NORMS_KEY, NoiseNorms};
pub use sequential::Norm;
pub use timing::seconds_in_networks;

pub use crate::layers::time_indices;

families::families! {
    diffusion {
        adm_unet::AdmUnet(AdmUnetConfig) = "adm_unet";
        ddpm_unet::DdpmUnet(DdpmUnetConfig) = "ddpm_unet";
    }
    others {
        dse::Dse(DseConfig) = "dse";
        cifar_features::CifarFeatures(CifarFeaturesConfig) = "cifar_features";
        inception::Inception(InceptionConfig) = "inception";
        resnet_generator::ResnetGenerator(ResnetGeneratorConfig) = "resnet_generator";
        patchgan::Patchgan(PatchganConfig) = "patchgan";
        patch_mlp::PatchMlp(PatchMlpConfig) = "patch_mlp";
        stargan_v2::StarganV2(StarganV2Config) = "stargan_v2";
        stargan_v2_generator::StarganV2Generator(StarganV2GeneratorConfig) = "stargan_v2_generator";
        stargan_v2_mapping::StarganV2Mapping(StarganV2MappingConfig) = "stargan_v2_mapping";
        stargan_v2_style_encoder::StarganV2StyleEncoder(StarganV2StyleEncoderConfig)
            = "stargan_v2_style_encoder";
        stargan_v2_discriminator::StarganV2Discriminator(StarganV2DiscriminatorConfig)
            = "stargan_v2_discriminator";
        wing_fan::WingFan(WingFanConfig) = "wing_fan";
    }
}
