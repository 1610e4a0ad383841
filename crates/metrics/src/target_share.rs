//! What a classifier that took no part in translating says of images.

use tch::Tensor;

/// The classifier's logits, `[n, classes]` each, and the class that translations should have.
#[derive(Debug)]
pub struct ClassifierLogits {
    /// Index of the target's class, in `0..classes`.
    pub target: i64,
    /// Logits of the images that were translated.
    pub sources: Tensor,
    /// Logits of their translations.
    pub translated: Tensor,
    /// Logits of the target domain's images.
    pub reference: Tensor,
}

impl ClassifierLogits {
    /// The share in [0, 1] of the images behind these logits whose largest logit is the target's.
    fn share(&self, logits: &Tensor) -> f64 {
        let called = logits.argmax(-1, false).eq(self.target);
        called.mean(tch::Kind::Double).double_value(&[])
    }
}

/// The share of the translations that the classifier calls the target.
pub(crate) fn target_share(logits: &ClassifierLogits) -> f64 {
    logits.share(&logits.translated)
}

/// The share of the sources that the classifier calls the target.
pub(crate) fn source_target_share(logits: &ClassifierLogits) -> f64 {
    logits.share(&logits.sources)
}

/// The share of the reference images that the classifier calls the target.
pub(crate) fn reference_target_share(logits: &ClassifierLogits) -> f64 {
    logits.share(&logits.reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_counts_largest_logits() {
        let logits = |values: &[f32]| Tensor::from_slice(values).reshape([-1, 3]);
        let classified = ClassifierLogits {
            target: 2,
            sources: logits(&[1.0, 0.0, 0.5]),
            translated: logits(&[
                0.0, 1.0, 2.0, 3.0, 1.0, 2.0, -3.0, -2.0, -1.0, 0.0, 0.0, 0.1,
            ]),
            reference: logits(&[0.0, 0.0, 9.0]),
        };
        assert_eq!(classified.share(&classified.sources), 0.0);
        assert_eq!(classified.share(&classified.translated), 0.75);
        assert_eq!(classified.share(&classified.reference), 1.0);
    }
}
