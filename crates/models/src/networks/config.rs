//! Reading the configuration of a network of any family, and checks that families share.

use super::NetworkConfig;
use crate::weights::WeightFile;
use anyhow::{Context, Result, ensure};
use std::ops::RangeInclusive;
use std::path::Path;

/// Metadata key under which a weight file carries its [`NetworkConfig`] as JSON.
pub const NETWORK_KEY: &str = "egsde.network";

/// The configuration in a weight file's metadata. Errors where there is none or it is not one; they
/// name the file by `path`.
pub fn config_from_metadata(file: &WeightFile, path: &Path) -> Result<NetworkConfig> {
    let path = path.display();
    let text = file.metadata.get(NETWORK_KEY);
    let text = text.with_context(|| format!("{path} carries no {NETWORK_KEY} in its metadata"))?;
    serde_json::from_str(text)
        .with_context(|| format!("{path}: its {NETWORK_KEY} is not a network configuration"))
}

/// Checks one count of a configuration, whose key is `name`.
pub(super) fn check_count(name: &str, count: i64, allowed: RangeInclusive<i64>) -> Result<()> {
    let (least, most) = (allowed.start(), allowed.end());
    ensure!(
        allowed.contains(&count),
        "{name} is {count}: must be {least} to {most}"
    );
    Ok(())
}

/// The numbers that every U-Net has.
pub(super) struct UnetShape {
    pub image_size: i64,
    /// Channels of the finest level, before its multiplier.
    pub width: i64,
    /// Channels of every level.
    pub channels: Vec<i64>,
    /// Residual blocks per level.
    pub blocks: i64,
}

impl UnetShape {
    pub fn check(&self) -> Result<()> {
        let Self {
            image_size,
            width,
            channels,
            blocks,
        } = self;
        let levels = channels.len();
        ensure!((1..=8).contains(&levels), "{levels} levels: must be 1 to 8");
        ensure!(
            (1..=8).contains(blocks),
            "{blocks} blocks per level: must be 1 to 8"
        );
        ensure!(
            width % 32 == 0 && (32..=1024).contains(width),
            "a width of {width}: must be a multiple of 32 up to 1024 (GroupNorm has 32 groups)"
        );
        ensure!(
            (channels.iter()).all(|c| c % 32 == 0 && (1..=16 * width).contains(c)),
            "levels of {channels:?} channels: each must be a multiple of 32 and at most 16 times \
             the width"
        );
        let divisor = 1 << (levels - 1);
        ensure!(
            (8..=2048).contains(image_size) && image_size % divisor == 0,
            "image_size {image_size}: must be 8 to 2048 and divide by {divisor}"
        );
        Ok(())
    }

    /// Channels of every layer that has attention: those of levels whose side is one of
    /// `resolutions`, and the middle block, which always has one.
    pub fn attention_channels(&self, resolutions: &[i64]) -> Result<Vec<i64>> {
        ensure!(
            resolutions.iter().all(|side| *side > 0),
            "attention_resolutions {resolutions:?}: must be sides in pixels"
        );
        let mut layers = Vec::new();
        for (level, channels) in self.channels.iter().enumerate() {
            let is_last = level + 1 == self.channels.len();
            if is_last || has_attention(resolutions, self.image_size, self.image_size >> level) {
                layers.push(*channels);
            }
        }
        Ok(layers)
    }
}

/// Whether feature maps of `side` px have attention: guided-diffusion divides the image's side by
/// each of the resolutions and rounds down.
pub(super) fn has_attention(resolutions: &[i64], image_size: i64, side: i64) -> bool {
    let factor = image_size / side;
    resolutions
        .iter()
        .any(|resolution| image_size / resolution == factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADM: &str = r#"{
        "kind": "adm_unet", "image_size": 32, "num_channels": 64, "channel_mult": [1, 2],
        "num_res_blocks": 1, "attention_resolutions": [16], "num_head_channels": 32,
        "learn_sigma": false, "use_scale_shift_norm": true, "resblock_updown": true
    }"#;

    /// The check of [`ADM`] with one text in it replaced.
    fn check_with(from: &str, to: &str) -> Result<()> {
        assert!(ADM.contains(from), "{from}");
        serde_json::from_str::<NetworkConfig>(&ADM.replace(from, to))
            .unwrap()
            .check()
    }

    #[test]
    fn numbers_no_network_can_have_are_refused_before_it_is_built() {
        assert!(check_with("64", "64").is_ok());
        for (from, to) in [
            ("\"num_channels\": 64", "\"num_channels\": 65"),
            ("\"num_channels\": 64", "\"num_channels\": 4000000000"),
            ("[1, 2]", "[1, 0]"),
            ("[1, 2]", "[1, 0.7]"),
            ("[1, 2]", "[1, 100]"),
            ("[16]", "[0]"),
            ("\"num_head_channels\": 32", "\"num_head_channels\": 0"),
            ("\"num_head_channels\": 32", "\"num_head_channels\": 48"),
            ("\"num_res_blocks\": 1", "\"num_res_blocks\": 1000000"),
            ("\"image_size\": 32", "\"image_size\": 33"),
        ] {
            assert!(check_with(from, to).is_err(), "{to}");
        }
    }

    #[test]
    fn a_configuration_comes_back_as_it_was_written_under_its_kind() {
        let config: NetworkConfig = serde_json::from_str(ADM).unwrap();
        assert_eq!(config.kind(), "adm_unet");
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["kind"], "adm_unet");
        assert_eq!(
            serde_json::from_value::<NetworkConfig>(written).unwrap(),
            config
        );
    }
}
