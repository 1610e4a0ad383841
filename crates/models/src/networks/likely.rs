//! The configuration that a network likely has, from the keys and shapes of its weights.

use super::NetworkConfig;
use super::likely_adm::AdmEncoder;
use super::likely_gans::{guess_resnet_generator, guess_stargan_v2};
use super::likely_shapes::{Guess, Shapes, has_prefix, indices, size};
use crate::fixed_entries::may_be_no_weight;
use crate::weights::list_names;
use serde_json::{Value, json};

/// A configuration that a file's weights speak for.
#[derive(Debug, Clone, PartialEq)]
pub struct LikelyNetwork {
    /// The configuration.
    pub config: NetworkConfig,
    /// What the weights do not tell, by key: how it was chosen.
    pub assumed: Vec<(&'static str, String)>,
    /// What does not fit; none where every key and shape is the configuration's.
    pub misfits: Option<String>,
}

/// The configuration that weights of these keys and shapes likely have. `None` where they are those
/// of no family that is known here.
pub fn likely_network(shapes: &Shapes) -> Option<LikelyNetwork> {
    let guesses = [
        guess_adm_unet,
        guess_dse,
        guess_ddpm_unet,
        guess_resnet_generator,
        guess_stargan_v2,
        guess_fixed,
    ];
    let guessed = guesses.into_iter().find_map(|guess| guess(shapes))?;
    let config: NetworkConfig = serde_json::from_value(guessed.config).ok()?;
    let wanted = match config.check() {
        Ok(()) => config.weight_shapes().ok()?,
        Err(error) => {
            return Some(LikelyNetwork {
                config,
                assumed: guessed.assumed,
                misfits: Some(error.to_string()),
            });
        }
    };
    Some(LikelyNetwork {
        misfits: list_misfits(&wanted, shapes),
        config,
        assumed: guessed.assumed,
    })
}

/// Keys and shapes that are not those of a network. `None` where all are.
fn list_misfits(wanted: &Shapes, shapes: &Shapes) -> Option<String> {
    let (mut missing, mut misshapen, mut unexpected) = (Vec::new(), Vec::new(), Vec::new());
    for (key, want) in wanted {
        match shapes.get(key) {
            None => missing.push(key.clone()),
            Some(shape) if shape != want => misshapen.push(key.clone()),
            Some(_) => {}
        }
    }
    for key in shapes.keys() {
        if !wanted.contains_key(key) && !may_be_no_weight(key, wanted) {
            unexpected.push(key.clone());
        }
    }
    let lists = [
        list_names("missing", &missing),
        list_names("unexpected", &unexpected),
        list_names("wrong shape", &misshapen),
    ];
    let problems: Vec<String> = lists.into_iter().flatten().collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// Adds what the weights of attention do not tell.
fn assume_heads(keys: &mut Value, assumed: &mut Vec<(&'static str, String)>, encoder: &AdmEncoder) {
    let divides = |head: i64| encoder.levels.iter().all(|(c, _)| c % head == 0);
    let channels = [64, 32, 16].into_iter().find(|head| divides(*head));
    keys["num_head_channels"] = json!(channels.unwrap_or(1));
    assumed.push((
        "num_head_channels",
        "not in the weights (nor num_heads, use_new_attention_order): see the flags of training"
            .into(),
    ));
}

fn assume_image_size(assumed: &mut Vec<(&'static str, String)>, encoder: &AdmEncoder) -> i64 {
    let usual = encoder.usual_image_size();
    let how = match usual {
        Some(_) => {
            "not in the weights: guided-diffusion's for these multipliers; \
                    attention_resolutions follow it"
        }
        None => "not in the weights; attention_resolutions follow it",
    };
    assumed.push(("image_size", how.into()));
    usual.unwrap_or(256)
}

fn guess_adm_unet(shapes: &Shapes) -> Option<Guess> {
    let outputs = size(shapes, "out.2.weight", 0)?;
    if !has_prefix(shapes, "output_blocks.") || shapes.get("out.2.weight")?.len() != 4 {
        return None;
    }
    let encoder = AdmEncoder::read(shapes)?;
    let mut assumed = Vec::new();
    let image_size = assume_image_size(&mut assumed, &encoder);
    let mut keys = json!({
        "kind": "adm_unet",
        "image_size": image_size,
        "num_channels": encoder.width,
        "channel_mult": encoder.channel_mult(),
        "num_res_blocks": encoder.blocks,
        "attention_resolutions": encoder.attention_resolutions(image_size),
        "learn_sigma": outputs == 6,
        "use_scale_shift_norm": encoder.scale_shift,
        "resblock_updown": encoder.resblock_updown,
        "conv_resample": encoder.conv_resample,
    });
    assume_heads(&mut keys, &mut assumed, &encoder);
    if let Some(classes) = size(shapes, "label_emb.weight", 0) {
        keys["class_cond"] = json!(true);
        keys["num_classes"] = json!(classes);
    }
    let config = keys;
    Some(Guess { config, assumed })
}

fn guess_dse(shapes: &Shapes) -> Option<Guess> {
    let positions = size(shapes, "I2Iout.2.positional_embedding", 1)?;
    let encoder = AdmEncoder::read(shapes)?;
    // One position per pixel of the coarsest level, and one of their mean.
    let side = ((positions - 1) as f64).sqrt() as i64;
    let image_size = side.checked_shl(encoder.levels.len() as u32 - 1)?;
    let mut assumed = Vec::new();
    if encoder.depth_is_assumed {
        assumed.push(("classifier_depth", "others fit as well".into()));
    }
    let mut keys = json!({
        "kind": "dse",
        "image_size": image_size,
        "classifier_width": encoder.width,
        "classifier_depth": encoder.blocks,
        "channel_mult": encoder.channel_mult(),
        "attention_resolutions": encoder.attention_resolutions(image_size),
        "num_classes": size(shapes, "I2Iout.2.c_proj.weight", 0)?,
        "pool": "attention",
        "use_scale_shift_norm": encoder.scale_shift,
        "resblock_updown": encoder.resblock_updown,
    });
    assume_heads(&mut keys, &mut assumed, &encoder);
    let config = keys;
    Some(Guess { config, assumed })
}

fn guess_ddpm_unet(shapes: &Shapes) -> Option<Guess> {
    let ch = size(shapes, "temb.dense.0.weight", 1).filter(|ch| *ch > 0)?;
    let levels = indices(shapes, "down.").min(16);
    let (mut ch_mult, mut attention) = (Vec::new(), Vec::new());
    for level in 0..levels {
        let outputs = size(shapes, &format!("down.{level}.block.0.conv2.weight"), 0)?;
        ch_mult.push(outputs / ch);
        attention.push(has_prefix(shapes, &format!("down.{level}.attn.")));
    }
    // Nothing tells the image's side: the usual one of this many levels, down to 8 or 4 px.
    let image_size = if levels >= 6 {
        256
    } else {
        8 << levels.saturating_sub(1)
    };
    let sides = (attention.iter().enumerate())
        .filter(|(_, has)| **has)
        .map(|(level, _)| image_size >> level);
    let config = json!({
        "kind": "ddpm_unet",
        "image_size": image_size,
        "ch": ch,
        "ch_mult": ch_mult,
        "num_res_blocks": indices(shapes, "down.0.block."),
        "attn_resolutions": sides.collect::<Vec<_>>(),
        "resamp_with_conv": levels < 2 || has_prefix(shapes, "down.0.downsample.conv."),
        "has_logvar": shapes.contains_key("logvar"),
    });
    let how = "not in the weights; attn_resolutions follow it";
    Some(Guess {
        config,
        assumed: vec![("image_size", how.into())],
    })
}

/// A family without numbers of its own.
fn guess_fixed(shapes: &Shapes) -> Option<Guess> {
    shapes.get("Mixed_7c.branch_pool.conv.weight")?;
    Some(Guess {
        config: json!({"kind": "inception"}),
        assumed: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is guessed from the weights of a configuration.
    fn guess(text: &str) -> (NetworkConfig, LikelyNetwork) {
        let config: NetworkConfig = serde_json::from_str(text).unwrap();
        config.check().unwrap();
        let likely = likely_network(&config.weight_shapes().unwrap()).unwrap();
        (config, likely)
    }

    /// Checks that all but what the weights do not tell comes back.
    #[track_caller]
    fn check_guess(text: &str) {
        let (config, likely) = guess(text);
        assert_eq!(likely.misfits, None, "{text}");
        let (mut want, mut got) = (
            serde_json::to_value(&config).unwrap(),
            serde_json::to_value(&likely.config).unwrap(),
        );
        for keys in [&mut want, &mut got] {
            let keys = keys.as_object_mut().unwrap();
            for hidden in ["num_heads", "num_head_channels", "use_new_attention_order"] {
                keys.remove(hidden);
            }
        }
        assert_eq!(got, want);
    }

    #[test]
    fn flags_that_weights_tell_are_found() {
        const SIZED: &str = r#"{"kind": "adm_unet", "image_size": 64, "num_channels": 32,
            "channel_mult": [1, 2, 3, 4], "attention_resolutions": [16, 8]"#;
        for more in [
            r#""num_head_channels": 32, "num_res_blocks": 1, "resblock_updown": true"#,
            r#""num_heads": 4, "num_res_blocks": 2, "resblock_updown": true, "learn_sigma": true"#,
            r#""num_heads": 4, "num_res_blocks": 3, "use_scale_shift_norm": false"#,
            r#""num_heads": 1, "num_res_blocks": 1, "conv_resample": false"#,
            r#""num_heads": 1, "num_res_blocks": 2, "class_cond": true, "num_classes": 7"#,
        ] {
            check_guess(&format!("{SIZED}, {more}}}"));
        }
        check_guess(
            r#"{"kind": "ddpm_unet", "image_size": 256, "ch": 32, "ch_mult": [1, 1, 2, 2, 4, 4],
            "num_res_blocks": 2, "attn_resolutions": [16], "resamp_with_conv": true}"#,
        );
        check_guess(
            r#"{"kind": "ddpm_unet", "image_size": 32, "ch": 32, "ch_mult": [1, 2, 2],
            "num_res_blocks": 1, "attn_resolutions": [16], "resamp_with_conv": false}"#,
        );
        for depth in [1, 2, 3] {
            check_guess(&format!(
                r#"{{"kind": "dse", "image_size": 64, "classifier_width": 32,
                "classifier_depth": {depth}, "channel_mult": [1, 1, 2],
                "attention_resolutions": [32, 16], "num_head_channels": 32, "num_classes": 3,
                "pool": "attention", "use_scale_shift_norm": true, "resblock_updown": true}}"#
            ));
        }
    }

    #[test]
    fn what_weights_do_not_tell_is_said() {
        let (_, likely) = guess(
            r#"{"kind": "adm_unet", "image_size": 48, "num_channels": 64, "channel_mult": [1, 2],
            "num_head_channels": 64, "attention_resolutions": [24]}"#,
        );
        let keys: Vec<_> = likely.assumed.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["image_size", "num_head_channels"]);
        assert_eq!(likely.misfits, None);
    }

    #[test]
    fn what_does_not_fit_is_told_and_strangers_are_no_network() {
        let config: NetworkConfig = serde_json::from_str(
            r#"{"kind": "ddpm_unet", "image_size": 32, "ch": 32, "ch_mult": [1, 2],
            "num_res_blocks": 1, "attn_resolutions": []}"#,
        )
        .unwrap();
        let mut shapes = config.weight_shapes().unwrap();
        shapes.remove("conv_in.bias");
        let misfits = likely_network(&shapes).unwrap().misfits.unwrap();
        assert!(misfits.contains("missing conv_in.bias"), "{misfits}");
        let strange = [
            ("time_embed.0.weight", vec![0, 0]),
            ("out.2.weight", vec![6, 0, 3, 3]),
            ("output_blocks.18446744073709551615.x", vec![]),
            ("input_blocks.18446744073709551615.x", vec![]),
            ("temb.dense.0.weight", vec![1, 0]),
            ("down.99999.block.0.conv2.weight", vec![1]),
        ];
        let strange = strange.map(|(key, shape)| (key.to_string(), shape));
        assert_eq!(likely_network(&strange.into()), None);
    }
}
