//! Classifier guidance as an energy (the slides' last part): be what the noised classifier calls class c.

use super::{Expert, State, Weight};
use egsde_models::{Dse, Loaded};
use tch::{Kind, Tensor};

/// Energy `-weight * log p_t(class | y)`.
pub struct ClassProbability<'a> {
    /// The extractor with its classification head.
    pub classifier: &'a Loaded<Dse>,
    /// Index of the class among the classifier's.
    pub class: i64,
    pub weight: Weight,
}

impl Expert for ClassProbability<'_> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn gradient(&self, state: &State) -> Tensor {
        let Loaded { net, kind, .. } = self.classifier;
        let energy = |features: &Tensor| {
            -net.logits(features, *kind)
                .log_softmax(-1, Kind::Float)
                .select(1, self.class)
        };
        self.classifier.gradient(state.y, state.t, energy)
    }

    fn evaluations(&self) -> (usize, usize) {
        (0, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_models::NetworkConfig;
    use tch::Device;

    #[test]
    fn the_gradient_is_that_of_the_energy_and_leads_to_the_class() {
        tch::manual_seed(3);
        let text = r#"{"kind": "dse", "image_size": 8, "classifier_width": 32, "classifier_depth": 1, "channel_mult": [1, 2],
            "attention_resolutions": [4], "num_head_channels": 32, "num_classes": 2, "pool": "attention",
            "use_scale_shift_norm": true, "resblock_updown": true}"#;
        let config: NetworkConfig = serde_json::from_str(text).unwrap();
        let classifier = Loaded::<Dse>::fresh(&config, Device::Cpu, Kind::Float).unwrap();
        // A fresh head may be zero: give every weight some size.
        tch::no_grad(|| {
            classifier
                .vs
                .variables()
                .values_mut()
                .for_each(|w| _ = w.f_add_(&(w.randn_like() * 0.1)).unwrap())
        });
        let draw = || Tensor::randn([2, 3, 8, 8], (Kind::Float, Device::Cpu));
        let (y, t) = (draw(), Tensor::from_slice(&[100f32, 400.0]));
        let expert = ClassProbability {
            classifier: &classifier,
            class: 1,
            weight: Weight::Constant(1.0),
        };
        let gradient = expert.gradient(&State {
            y: &y,
            xt: &y,
            t: &t,
            share: 0.1,
        });
        let energy = |y: &Tensor| {
            let logits = tch::no_grad(|| classifier.logits(y, &t));
            -logits
                .log_softmax(-1, Kind::Float)
                .select(1, 1)
                .sum(Kind::Double)
                .double_value(&[])
        };
        let direction = draw();
        let slope = (energy(&(&y + &direction * 1e-2)) - energy(&(&y - &direction * 1e-2))) / 2e-2;
        let want = (&gradient * &direction).sum(Kind::Double).double_value(&[]);
        assert!(
            (slope - want).abs() < 0.02 * want.abs().max(0.1),
            "{slope} {want}"
        );
        assert!(
            energy(&(&y - &gradient)) < energy(&y),
            "a step down the energy makes the class more probable"
        );
    }
}
