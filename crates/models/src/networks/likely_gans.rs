//! The configurations of the GANs' generators, from the keys and shapes of their weights.

use super::likely_shapes::{Guess, Shapes, has_prefix, indices, size};
use super::stargan_v2_blocks::WIDTH_TIMES_SIDE;
use serde_json::json;

/// CUT's or CycleGAN's generator: a sequence in which blurs take places of their own.
pub(super) fn guess_resnet_generator(shapes: &Shapes) -> Option<Guess> {
    let blocks = (0..indices(shapes, "model."))
        .filter(|i| has_prefix(shapes, &format!("model.{i}.conv_block.")))
        .collect::<Vec<_>>();
    let after = blocks.last()? + 1;
    let last = indices(shapes, "model.") - 1;
    let config = json!({
        "kind": "resnet_generator",
        "input_nc": size(shapes, "model.1.weight", 1)?,
        "output_nc": size(shapes, &format!("model.{last}.weight"), 0)?,
        "ngf": size(shapes, "model.1.weight", 0)?,
        "n_blocks": blocks.len(),
        "norm": "instance",
        "antialias_down": !shapes.contains_key("model.7.weight"),
        "antialias_up": !shapes.contains_key(&format!("model.{after}.weight")),
    });
    Some(Guess {
        config,
        assumed: Vec::new(),
    })
}

/// StarGAN v2 as its authors publish it, its parts under their names.
pub(super) fn guess_stargan_v2(shapes: &Shapes) -> Option<Guess> {
    let width = size(shapes, "generator.from_rgb.weight", 0).filter(|width| *width > 0)?;
    let img_size = WIDTH_TIMES_SIDE / width;
    let widths = shapes
        .iter()
        .filter(|(key, _)| key.starts_with("generator.encode."));
    let widest = widths.filter_map(|(_, shape)| shape.first()).max();
    let has_filter = has_prefix(shapes, "fan.");
    let domains = indices(shapes, "mapping_network.unshared.");
    let names: Vec<String> = (0..domains)
        .map(|label| format!("domain {label}"))
        .collect();
    let config = json!({
        "kind": "stargan_v2",
        "img_size": img_size,
        "style_dim": size(shapes, "mapping_network.unshared.0.6.weight", 0)?,
        "latent_dim": size(shapes, "mapping_network.shared.0.weight", 1)?,
        "max_conv_dim": widest?,
        "w_hpf": if has_filter { 1.0 } else { 0.0 },
        "domains": names,
    });
    let mut assumed = vec![(
        "domains",
        "not in the weights: the names of the training folders, sorted".to_string(),
    )];
    if has_filter {
        assumed.push(("w_hpf", "not in the weights: the authors' for faces".into()));
    }
    Some(Guess { config, assumed })
}
