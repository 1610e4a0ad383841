//! What the keys and shapes of an ADM network tell of its downward half.

use super::likely_shapes::{Shapes, has_prefix, indices, size};
use super::multipliers::{Multiplier, default_multipliers};

/// Residual blocks per level of guided-diffusion's classifiers.
const USUAL_DEPTH: usize = 2;

/// What the downward half of an ADM network tells.
pub(super) struct AdmEncoder {
    pub width: i64,
    /// Channels and attention of every level, the finest first.
    pub levels: Vec<(i64, bool)>,
    pub blocks: usize,
    pub scale_shift: bool,
    pub resblock_updown: bool,
    pub conv_resample: bool,
    /// Whether other numbers of blocks fit as well.
    pub depth_is_assumed: bool,
}

impl AdmEncoder {
    pub fn read(shapes: &Shapes) -> Option<Self> {
        let width = size(shapes, "time_embed.0.weight", 1).filter(|width| *width > 0)?;
        let count = indices(shapes, "input_blocks.");
        let mut encoder = Self {
            width,
            levels: Vec::new(),
            blocks: 0,
            scale_shift: true,
            resblock_updown: false,
            conv_resample: true,
            depth_is_assumed: false,
        };
        let (mut blocks, mut most_blocks) = (0, 0);
        let mut level: Option<(i64, bool)> = None;
        for index in 1..count {
            let at = format!("input_blocks.{index}.");
            let Some(outputs) = size(shapes, &format!("{at}0.out_layers.3.weight"), 0) else {
                // A layer that halves the size: a convolution, or nothing that has weights.
                encoder.conv_resample = has_prefix(shapes, &at);
                encoder.levels.extend(level.take());
                blocks = 0;
                continue;
            };
            let emb = size(shapes, &format!("{at}0.emb_layers.1.weight"), 0)?;
            encoder.scale_shift = emb == 2 * outputs;
            blocks += 1;
            most_blocks = most_blocks.max(blocks);
            let attention = has_prefix(shapes, &format!("{at}1.qkv."));
            level = Some((outputs, attention));
        }
        encoder.levels.extend(level);
        encoder.blocks = most_blocks;
        encoder.split_levels(shapes, count)
    }

    /// Where residual blocks halve the size, they look as the others do: the number of blocks per
    /// level tells them apart.
    fn split_levels(mut self, shapes: &Shapes, count: usize) -> Option<Self> {
        if self.levels.len() > 1 || count <= 2 {
            return (!self.levels.is_empty()).then_some(self);
        }
        let mut found = Vec::new();
        for index in 1..count {
            let at = format!("input_blocks.{index}.");
            let outputs = size(shapes, &format!("{at}0.out_layers.3.weight"), 0)?;
            found.push((outputs, has_prefix(shapes, &format!("{at}1.qkv."))));
        }
        let candidates: Vec<usize> = match blocks_upward(shapes) {
            Some(blocks) => vec![blocks],
            None => (1..=8).filter(|b| splits_into_levels(&found, *b)).collect(),
        };
        self.depth_is_assumed = candidates.len() > 1;
        let usual = candidates.iter().find(|blocks| **blocks == USUAL_DEPTH);
        let blocks = *usual.or(candidates.first())?;
        self.blocks = blocks;
        self.levels = found.chunks(blocks + 1).map(|level| level[0]).collect();
        self.resblock_updown = self.levels.len() > 1;
        Some(self)
    }

    pub fn channel_mult(&self) -> Vec<Multiplier> {
        let multiplier = |(channels, _): &(i64, bool)| *channels as f64 / self.width as f64;
        self.levels
            .iter()
            .map(|level| Multiplier::from(multiplier(level)))
            .collect()
    }

    /// The image's side, where nothing tells it: that of guided-diffusion's network of these
    /// multipliers.
    pub fn usual_image_size(&self) -> Option<i64> {
        [512, 256, 128, 64]
            .into_iter()
            .find(|side| default_multipliers(*side) == Some(self.channel_mult()))
    }

    /// Sides of the levels that have attention.
    pub fn attention_resolutions(&self, image_size: i64) -> Vec<i64> {
        let mut sides = Vec::new();
        for (level, (_, attention)) in self.levels.iter().enumerate() {
            if *attention {
                sides.push(image_size >> level.min(62));
            }
        }
        sides
    }
}

/// Residual blocks per level, from the first block of the upward half that has one more to double
/// the size. `None` without an upward half.
fn blocks_upward(shapes: &Shapes) -> Option<usize> {
    let outputs = indices(shapes, "output_blocks.");
    let doubles = |index: &usize| {
        [1, 2]
            .iter()
            .any(|layer| has_prefix(shapes, &format!("output_blocks.{index}.{layer}.in_layers.")))
    };
    let first = (0..outputs).find(doubles);
    first
        .or(outputs.checked_sub(1))
        .filter(|blocks| *blocks > 0)
}

/// Whether blocks of these channels, each with or without attention, can be levels of `blocks`
/// residual blocks, each but the last with one more that halves the size: it keeps the channels and
/// has no attention.
fn splits_into_levels(found: &[(i64, bool)], blocks: usize) -> bool {
    let mut levels = found.chunks(blocks + 1);
    (found.len() + 1).is_multiple_of(blocks + 1)
        && levels.all(|level| {
            let own = &level[..blocks.min(level.len())];
            let halves = level.get(blocks);
            own.iter().all(|block| *block == level[0])
                && halves.is_none_or(|half| *half == (level[0].0, false))
        })
}
