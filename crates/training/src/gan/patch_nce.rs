//! CUT's contrastive loss of patches (`PatchNCELoss`).

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Reduction, Tensor};

/// What stands in the place of a row's product with itself among its negatives, before everything
/// is divided by the temperature.
const OWN_PRODUCT: f64 = -10.0;

/// Settings of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchNce {
    /// Divides the products.
    pub temperature: f64,
    /// Whether negatives come from the whole batch, and not from the same image only.
    #[serde(default)]
    pub all_negatives: bool,
}

impl Default for PatchNce {
    /// That of the authors.
    fn default() -> Self {
        Self {
            temperature: 0.07,
            all_negatives: false,
        }
    }
}

impl PatchNce {
    /// The loss of each row of `queries` `[rows, c]`: cross-entropy of its product with the same
    /// row of `keys` `[rows, c]` against those with the other rows of its group. The rows lie in
    /// `groups` groups of equal size. Keys get no gradient.
    pub fn losses(&self, queries: &Tensor, keys: &Tensor, groups: i64) -> Tensor {
        let (rows, length) = queries.size2().expect("queries are a matrix");
        let keys = keys.detach();
        let positives = (queries * &keys).sum_dim_intlist(1, true, None::<Kind>);
        let count = rows / groups;
        let queries = queries.reshape([groups, count, length]);
        let products = queries.bmm(&keys.reshape([groups, count, length]).transpose(1, 2));
        let own = Tensor::eye(count, (Kind::Bool, products.device()));
        let negatives = products.masked_fill(&own, OWN_PRODUCT);
        let logits = Tensor::cat(&[positives, negatives.reshape([rows, count])], 1);
        let answers = Tensor::zeros([rows], (Kind::Int64, logits.device()));
        // PyTorch's default for the answer that is ignored.
        const IGNORED: i64 = -100;
        (logits / self.temperature).cross_entropy_loss::<Tensor>(
            &answers,
            None,
            Reduction::None,
            IGNORED,
            0.0,
        )
    }
}

/// `count` of `0..positions` without repeats, or all of them in random order where there are no
/// more; drawn from libtorch's generator.
pub(super) fn draw_positions(positions: i64, count: i64, device: Device) -> Tensor {
    let order = Tensor::randperm(positions, (Kind::Int64, Device::Cpu));
    order.narrow(0, 0, count.min(positions)).to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_is_its_key_costs_less_than_one_that_is_another() {
        let keys = Tensor::eye(4, (Kind::Float, Device::Cpu));
        let matching = PatchNce::default().losses(&keys, &keys, 1);
        let shifted = PatchNce::default().losses(&keys.roll([1], [0]), &keys, 1);
        assert_eq!(matching.size(), [4]);
        assert!(matching.max().double_value(&[]) < 1e-4);
        assert!(shifted.min().double_value(&[]) > 10.0);
    }

    #[test]
    fn positions_are_distinct_and_at_most_all() {
        tch::manual_seed(3);
        let some = Vec::<i64>::try_from(draw_positions(64, 16, Device::Cpu)).unwrap();
        let distinct: std::collections::BTreeSet<i64> = some.iter().copied().collect();
        assert_eq!((some.len(), distinct.len()), (16, 16));
        assert_eq!(draw_positions(9, 16, Device::Cpu).size(), [9]);
    }
}
