//! What the list of methods makes.

/// Declares the methods, each as `file::Config as Variant = "name";`, and makes everything that
/// follows from the list: [`MethodConfig`](super::MethodConfig) with its dispatches.
macro_rules! methods {
    ($($file:ident::$config:ident as $method:ident = $name:literal;)+) => {
        $(
            mod $file;
            pub use $file::*;
        )+

        /// Settings of any method. In files, `method` tells the methods apart.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "method")]
        pub enum MethodConfig {
            $(
                #[doc = concat!("Those of `", $name, "`.")]
                #[serde(rename = $name)]
                $method($config),
            )+
        }

        impl $crate::method::MethodSettings for MethodConfig {
            fn unused_key(&self) -> Option<&'static str> {
                match self {
                    $(Self::$method(config) => config.unused_key(),)+
                }
            }

            fn settle(&self, task: &$crate::settings::TaskFacts) -> anyhow::Result<Self> {
                Ok(match self {
                    $(Self::$method(config) => Self::$method(config.settle(task)?),)+
                })
            }

            fn experts(&self) -> &[$crate::energy::ExpertConfig] {
                match self {
                    $(Self::$method(config) => config.experts(),)+
                }
            }

            fn generator(&self) -> Option<$crate::generators::GeneratorName> {
                match self {
                    $(Self::$method(config) => config.generator(),)+
                }
            }

            fn evaluations(&self) -> $crate::cost::Evaluations {
                match self {
                    $(Self::$method(config) => config.evaluations(),)+
                }
            }

            fn depends_on_seed(&self) -> bool {
                match self {
                    $(Self::$method(config) => config.depends_on_seed(),)+
                }
            }

            fn check_network(
                &self,
                diffusion: &egsde_models::networks::Diffusion,
            ) -> anyhow::Result<()> {
                match self {
                    $(Self::$method(config) => config.check_network(diffusion),)+
                }
            }

            fn build<'a>(
                &self,
                networks: &$crate::settings::Networks<'a>,
            ) -> anyhow::Result<Box<dyn $crate::method::Method + 'a>> {
                match self {
                    $(Self::$method(config) => config.build(networks),)+
                }
            }
        }
    };
}
pub(super) use methods;
