//! CUT (Park et al. 2020): one evaluation of a residual generator.

use super::Method;
use crate::generators::GeneratorName;
use crate::noise::Noise;
use anyhow::Result;
use egsde_models::{Loaded, ResnetGenerator};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A CUT row has no keys: the task names the generator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CutConfig {}

/// Translates by CUT's or CycleGAN's generator, without any step.
pub struct ResnetTranslation<'a> {
    /// Whose generator it is.
    pub name: GeneratorName,
    /// The generator of the direction that is translated.
    pub generator: &'a Loaded<ResnetGenerator>,
}

impl Method for ResnetTranslation<'_> {
    fn translate(
        &self,
        x0: &Tensor,
        _: &dyn Noise,
        observe: &mut dyn FnMut(usize, usize, &Tensor),
    ) -> Result<Tensor> {
        let y = tch::no_grad(|| self.generator.translate(x0));
        observe(0, 0, &y);
        Ok(self.name.image(&y))
    }
}

/// Makes the settings of a method without keys that translates by a residual generator: the name of
/// the generator is all that tells CUT's from CycleGAN's.
macro_rules! resnet_settings {
    ($config:ident, $name:ident) => {
        impl $crate::method::MethodSettings for $config {
            fn unused_key(&self) -> Option<&'static str> {
                None
            }

            fn settle(&self, _: &$crate::settings::TaskFacts) -> anyhow::Result<Self> {
                Ok(self.clone())
            }

            fn experts(&self) -> &[$crate::energy::ExpertConfig] {
                &[]
            }

            fn generator(&self) -> Option<$crate::generators::GeneratorName> {
                Some($crate::generators::GeneratorName::$name)
            }

            fn evaluations(&self) -> $crate::cost::Evaluations {
                $crate::cost::Evaluations::for_generator()
            }

            fn depends_on_seed(&self) -> bool {
                false
            }

            fn check_network(&self, _: &egsde_models::networks::Diffusion) -> anyhow::Result<()> {
                Ok(())
            }

            fn build<'a>(
                &self,
                networks: &$crate::settings::Networks<'a>,
            ) -> anyhow::Result<Box<dyn $crate::method::Method + 'a>> {
                Ok(Box::new($crate::method::ResnetTranslation {
                    name: $crate::generators::GeneratorName::$name,
                    generator: networks.generator()?.resnet()?,
                }))
            }
        }
    };
}
pub(super) use resnet_settings;

resnet_settings!(CutConfig, Cut);
