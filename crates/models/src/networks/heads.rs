//! How many heads an attention layer has.

use anyhow::{Result, ensure};

/// What decides the heads of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heads {
    /// Each head has this many channels.
    OfChannels(i64),
    /// Every layer has this many heads.
    Fixed(i64),
}

impl Heads {
    /// Heads of a layer of `channels` channels.
    pub fn count(self, channels: i64) -> i64 {
        match self {
            Self::OfChannels(of_head) => channels / of_head,
            Self::Fixed(count) => count,
        }
    }

    /// Checks that the heads divide the channels of every layer that has attention.
    pub fn check(self, layers: &[i64]) -> Result<()> {
        let (key, number) = match self {
            Self::OfChannels(of_head) => ("num_head_channels", of_head),
            Self::Fixed(count) => ("num_heads", count),
        };
        ensure!(number > 0, "{key} is {number}: must be at least 1");
        for channels in layers {
            ensure!(
                channels % number == 0,
                "{key} {number} does not divide the {channels} channels of an attention layer"
            );
        }
        Ok(())
    }
}
