//! The configuration of a DDPM U-Net: the `model` section of ddim's configuration files.

use super::config::UnetShape;
use super::keys::is_off;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Numbers of a DDPM U-Net, named as in the `model` section of ddim's configuration files. The
/// other keys of that section are taken too, as far as they leave the network as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DdpmUnetKeys")]
pub struct DdpmUnetConfig {
    /// Side of the square images in pixels.
    pub image_size: i64,
    /// Channels of the finest level, before its multiplier.
    pub ch: i64,
    /// One multiplier of `ch` per level, the finest first.
    pub ch_mult: Vec<i64>,
    /// Residual blocks per level.
    pub num_res_blocks: i64,
    /// Sides in pixels of the feature maps that have attention.
    pub attn_resolutions: Vec<i64>,
    /// Whether convolutions take part in changes of the resolution, or plain resampling does it.
    pub resamp_with_conv: bool,
    /// Whether the file carries the variances of ddim's `type: bayesian`, which no method reads.
    #[serde(skip_serializing_if = "is_off")]
    pub has_logvar: bool,
}

/// The `type` of ddim's networks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModelType {
    #[default]
    Simple,
    Bayesian,
}

/// The keys as a file gives them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DdpmUnetKeys {
    image_size: i64,
    ch: i64,
    ch_mult: Vec<i64>,
    num_res_blocks: i64,
    attn_resolutions: Vec<i64>,
    #[serde(default = "default_resamp_with_conv")]
    resamp_with_conv: bool,
    #[serde(default)]
    has_logvar: bool,
    #[serde(default, rename = "type")]
    model_type: ModelType,
    #[serde(default = "default_in_channels")]
    in_channels: i64,
    #[serde(default = "default_out_ch")]
    out_ch: i64,
    /// Training alone reads this key and the three that follow.
    #[serde(default, rename = "dropout")]
    _dropout: f64,
    #[serde(default, rename = "ema")]
    _ema: bool,
    #[serde(default, rename = "ema_rate")]
    _ema_rate: f64,
    /// How ddim's code samples; here a row's solver decides.
    #[serde(default, rename = "var_type")]
    _var_type: String,
}

fn default_resamp_with_conv() -> bool {
    true
}

fn default_in_channels() -> i64 {
    3
}

fn default_out_ch() -> i64 {
    3
}

impl TryFrom<DdpmUnetKeys> for DdpmUnetConfig {
    type Error = String;

    fn try_from(keys: DdpmUnetKeys) -> Result<Self, String> {
        for (key, channels) in [("in_channels", keys.in_channels), ("out_ch", keys.out_ch)] {
            if channels != 3 {
                return Err(format!("{key} is {channels}: images have 3 channels here"));
            }
        }
        Ok(Self {
            image_size: keys.image_size,
            ch: keys.ch,
            ch_mult: keys.ch_mult,
            num_res_blocks: keys.num_res_blocks,
            attn_resolutions: keys.attn_resolutions,
            resamp_with_conv: keys.resamp_with_conv,
            has_logvar: keys.has_logvar || keys.model_type == ModelType::Bayesian,
        })
    }
}

impl DdpmUnetConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        let shape = UnetShape {
            image_size: self.image_size,
            width: self.ch,
            channels: self.ch_mult.iter().map(|mult| self.ch * mult).collect(),
            blocks: self.num_res_blocks,
        };
        shape.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::NetworkConfig;

    const KEYS: &str = r#"{"kind":"ddpm_unet","image_size":32,"ch":32,"ch_mult":[1,2],"#;

    fn parse(more: &str) -> Result<NetworkConfig, serde_json::Error> {
        let own = r#""num_res_blocks":1,"attn_resolutions":[16]"#;
        serde_json::from_str(&format!("{KEYS}{own}{more}}}"))
    }

    #[test]
    fn a_model_section_of_ddims_files_is_taken_whole() {
        let section = r#","resamp_with_conv":true,"type":"simple","in_channels":3,"out_ch":3,
            "dropout":0.1,"var_type":"fixedsmall","ema_rate":0.999,"ema":true"#;
        let short = parse(r#","resamp_with_conv":true"#).unwrap();
        assert_eq!(parse(section).unwrap(), short);
        let written = serde_json::to_string(&short).unwrap();
        let own = r#""num_res_blocks":1,"attn_resolutions":[16],"resamp_with_conv":true}"#;
        assert_eq!(written, format!("{KEYS}{own}"));
        let error = parse(r#","in_channels":1"#).unwrap_err().to_string();
        assert!(error.contains("in_channels is 1"), "{error}");
        assert!(parse(r#","chanels":1"#).is_err());
    }

    #[test]
    fn the_bayesian_type_carries_variances() {
        let shapes = parse(r#","type":"bayesian""#).unwrap().weight_shapes();
        assert_eq!(shapes.unwrap()["logvar"], [1000]);
    }
}
