//! The configuration of an ADM U-Net: guided-diffusion's flags, with its defaults.

use super::adm_blocks::AdmShape;
use super::config::{UnetShape, check_count};
use super::heads::Heads;
use super::keys::{is_off, is_on, text_or_list};
use super::multipliers::{Multiplier, default_multipliers, level_channels, multipliers};
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// guided-diffusion's `NUM_CLASSES`.
const IMAGENET_CLASSES: i64 = 1000;

/// Numbers of an ADM U-Net, named as guided-diffusion's flags. A file may give the flags as that
/// code takes them; here stands what they amount to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AdmUnetKeys")]
pub struct AdmUnetConfig {
    /// Side of the square images in pixels.
    pub image_size: i64,
    /// Channels of the finest level, before its multiplier.
    pub num_channels: i64,
    /// One multiplier of `num_channels` per level, the finest first.
    pub channel_mult: Vec<Multiplier>,
    /// Residual blocks per level.
    pub num_res_blocks: i64,
    /// Sides in pixels of the feature maps that have attention.
    pub attention_resolutions: Vec<i64>,
    /// Channels of an attention head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_head_channels: Option<i64>,
    /// Heads of every attention layer, where `num_head_channels` does not decide them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_heads: Option<i64>,
    /// Heads of the attention layers in the upward half, where their number differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_heads_upsample: Option<i64>,
    /// Six output channels instead of three; the last three steer the learned-range variance.
    pub learn_sigma: bool,
    /// Whether the time embedding scales and shifts a normalisation, or is only added.
    pub use_scale_shift_norm: bool,
    /// Whether residual blocks change the resolution, or plain layers do.
    pub resblock_updown: bool,
    /// Probability of a value to be dropped, in training only.
    pub dropout: f64,
    /// Whether queries, keys and values are split before the heads (`QKVAttention`), or within each
    /// head (`QKVAttentionLegacy`).
    #[serde(skip_serializing_if = "is_off")]
    pub use_new_attention_order: bool,
    /// Whether plain layers that change the resolution have convolutions.
    #[serde(skip_serializing_if = "is_on")]
    pub conv_resample: bool,
    /// Classes that the network was told of in training; none where it knew no classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<i64>,
}

impl AdmUnetConfig {
    /// See [`NetworkConfig::check`](super::NetworkConfig::check).
    pub fn check(&self) -> Result<()> {
        let shape = UnetShape {
            image_size: self.image_size,
            width: self.num_channels,
            channels: level_channels(&self.channel_mult, self.num_channels),
            blocks: self.num_res_blocks,
        };
        shape.check()?;
        let layers = shape.attention_channels(&self.attention_resolutions)?;
        self.heads().check(&layers)?;
        self.heads_upsample().check(&layers)?;
        match self.num_classes {
            Some(classes) => check_count("num_classes", classes, 1..=100_000),
            None => Ok(()),
        }
    }

    fn heads(&self) -> Heads {
        match (self.num_head_channels, self.num_heads) {
            (Some(channels), _) => Heads::OfChannels(channels),
            (None, heads) => Heads::Fixed(heads.unwrap_or(1)),
        }
    }

    fn heads_upsample(&self) -> Heads {
        match self.num_heads_upsample {
            Some(heads) if self.num_head_channels.is_none() => Heads::Fixed(heads),
            _ => self.heads(),
        }
    }

    pub(super) fn shape(&self) -> AdmShape {
        AdmShape {
            image_size: self.image_size,
            width: self.num_channels,
            level_channels: level_channels(&self.channel_mult, self.num_channels),
            num_res_blocks: self.num_res_blocks,
            attention_resolutions: self.attention_resolutions.clone(),
            heads: self.heads(),
            heads_upsample: self.heads_upsample(),
            new_attention_order: self.use_new_attention_order,
            scale_shift: self.use_scale_shift_norm,
            resblock_updown: self.resblock_updown,
            conv_resample: self.conv_resample,
            dropout: self.dropout,
        }
    }
}

/// Flags of guided-diffusion's `create_model`, defaults of its `model_and_diffusion_defaults`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdmUnetKeys {
    image_size: i64,
    num_channels: i64,
    /// Left out or empty: those of the image size.
    #[serde(default, deserialize_with = "multipliers")]
    channel_mult: Vec<Multiplier>,
    #[serde(default = "default_num_res_blocks")]
    num_res_blocks: i64,
    #[serde(
        default = "default_attention_resolutions",
        deserialize_with = "text_or_list"
    )]
    attention_resolutions: Vec<i64>,
    /// -1: `num_heads` decides.
    #[serde(default = "default_num_head_channels")]
    num_head_channels: i64,
    /// Counts where `num_head_channels` is -1.
    #[serde(default = "default_num_heads")]
    num_heads: i64,
    /// -1: as many as `num_heads`.
    #[serde(default = "default_num_heads_upsample")]
    num_heads_upsample: i64,
    #[serde(default)]
    learn_sigma: bool,
    #[serde(default = "default_use_scale_shift_norm")]
    use_scale_shift_norm: bool,
    #[serde(default)]
    resblock_updown: bool,
    #[serde(default)]
    dropout: f64,
    #[serde(default)]
    use_new_attention_order: bool,
    #[serde(default = "default_conv_resample")]
    conv_resample: bool,
    #[serde(default)]
    class_cond: bool,
    /// guided-diffusion's constant; another one goes with `class_cond`, and may stand for it.
    num_classes: Option<i64>,
    /// How the authors' code computes; here an experiment's `precision` decides.
    #[serde(default, rename = "use_fp16")]
    _use_fp16: bool,
    /// Saves memory in training; no number depends on it.
    #[serde(default, rename = "use_checkpoint")]
    _use_checkpoint: bool,
}

fn default_num_res_blocks() -> i64 {
    2
}

fn default_attention_resolutions() -> Vec<i64> {
    vec![16, 8]
}

fn default_num_head_channels() -> i64 {
    -1
}

fn default_num_heads() -> i64 {
    4
}

fn default_num_heads_upsample() -> i64 {
    -1
}

fn default_use_scale_shift_norm() -> bool {
    true
}

fn default_conv_resample() -> bool {
    true
}

/// A number that the flags leave to others by -1.
fn decided(number: i64) -> Option<i64> {
    (number != -1).then_some(number)
}

impl TryFrom<AdmUnetKeys> for AdmUnetConfig {
    type Error = String;

    fn try_from(keys: AdmUnetKeys) -> Result<Self, String> {
        let channel_mult = match keys.channel_mult {
            given if !given.is_empty() => given,
            _ => default_multipliers(keys.image_size).ok_or_else(|| {
                format!(
                    "channel_mult is left out, and there is no default for {} px (512, 256, 128 \
                     and 64 have one)",
                    keys.image_size
                )
            })?,
        };
        let num_head_channels = decided(keys.num_head_channels);
        let num_heads = num_head_channels.is_none().then_some(keys.num_heads);
        let num_heads_upsample = decided(keys.num_heads_upsample)
            .filter(|heads| num_heads.is_some_and(|down| down != *heads));
        let classes = keys.num_classes.unwrap_or(IMAGENET_CLASSES);
        let has_classes = keys.class_cond || keys.num_classes.is_some();
        Ok(Self {
            image_size: keys.image_size,
            num_channels: keys.num_channels,
            channel_mult,
            num_res_blocks: keys.num_res_blocks,
            attention_resolutions: keys.attention_resolutions,
            num_head_channels,
            num_heads,
            num_heads_upsample,
            learn_sigma: keys.learn_sigma,
            use_scale_shift_norm: keys.use_scale_shift_norm,
            resblock_updown: keys.resblock_updown,
            dropout: keys.dropout,
            use_new_attention_order: keys.use_new_attention_order,
            conv_resample: keys.conv_resample,
            num_classes: has_classes.then_some(classes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::NetworkConfig;

    const FLAGS: &str = r#""kind": "adm_unet", "image_size": 64, "num_channels": 64"#;

    /// A configuration of the shortest flags and some more.
    fn parse(more: &str) -> Result<AdmUnetConfig, serde_json::Error> {
        let config = serde_json::from_str(&format!("{{{FLAGS}{more}}}"))?;
        match config {
            NetworkConfig::AdmUnet(config) => Ok(config),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_left_out_has_guided_diffusions_defaults() {
        let config = parse("").unwrap();
        config.check().unwrap();
        let values: Vec<f64> = config.channel_mult.iter().map(|m| m.value()).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(config.attention_resolutions, [16, 8]);
        assert_eq!(
            (config.num_heads, config.num_head_channels),
            (Some(4), None)
        );
        assert!(config.use_scale_shift_norm && config.conv_resample);
        assert!(!config.learn_sigma && !config.resblock_updown);
        assert_eq!((config.num_res_blocks, config.num_classes), (2, None));
    }

    #[test]
    fn flags_are_taken_as_that_code_takes_them() {
        let written = parse(
            r#", "num_heads": 4, "num_head_channels": -1, "num_heads_upsample": -1,
            "channel_mult": "", "attention_resolutions": "16,8", "use_fp16": true,
            "use_checkpoint": true, "class_cond": false"#,
        );
        assert_eq!(written.unwrap(), parse("").unwrap());
        // The channels of a head count before the number of heads.
        let channels = parse(r#", "num_heads": 4, "num_head_channels": 32"#).unwrap();
        assert_eq!(channels, parse(r#", "num_head_channels": 32"#).unwrap());
        let upward = parse(r#", "num_heads": 4, "num_heads_upsample": 8"#).unwrap();
        assert_eq!(upward.num_heads_upsample, Some(8));
        for (more, classes) in [
            (r#", "class_cond": true"#, 1000),
            (r#", "class_cond": true, "num_classes": 10"#, 10),
        ] {
            assert_eq!(parse(more).unwrap().num_classes, Some(classes));
        }
    }

    #[test]
    fn a_configuration_without_the_newer_flags_is_written_as_before() {
        let text = concat!(
            r#"{"kind":"adm_unet","image_size":256,"num_channels":128,"#,
            r#""channel_mult":[1,1,2,2,4,4],"num_res_blocks":1,"attention_resolutions":[16],"#,
            r#""num_head_channels":64,"learn_sigma":true,"use_scale_shift_norm":true,"#,
            r#""resblock_updown":true,"dropout":0.0}"#
        );
        let config: NetworkConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
    }

    #[test]
    fn half_a_width_is_a_multiplier() {
        let config: NetworkConfig =
            serde_json::from_str(r#"{"kind": "adm_unet", "image_size": 512, "num_channels": 128}"#)
                .unwrap();
        config.check().unwrap();
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(
            written["channel_mult"],
            serde_json::json!([0.5, 1, 1, 2, 2, 4, 4])
        );
    }

    #[test]
    fn heads_that_do_not_divide_an_attention_layer_are_refused() {
        for (more, part) in [
            (r#", "num_heads": 3"#, "num_heads 3"),
            (r#", "num_heads": 0"#, "num_heads is 0"),
            (r#", "num_head_channels": 48"#, "num_head_channels 48"),
            (r#", "num_heads_upsample": 7"#, "num_heads 7"),
        ] {
            let error = parse(more).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        // Only layers with attention count.
        parse(r#", "num_head_channels": 128, "attention_resolutions": "8""#)
            .unwrap()
            .check()
            .unwrap();
        let error = parse(r#", "channel_mult": "1,x""#).unwrap_err().to_string();
        assert!(error.contains("\"x\" is no number"), "{error}");
        let error = serde_json::from_str::<NetworkConfig>(
            r#"{"kind": "adm_unet", "image_size": 32, "num_channels": 64}"#,
        );
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("no default for 32 px")
        );
    }
}
