//! What the list of experts makes.

/// Declares the experts, each as `file::Config as Variant = "name";`, and makes everything that
/// follows from the list: [`ExpertConfig`](super::ExpertConfig) with its dispatches.
macro_rules! experts {
    ($($file:ident::$config:ident as $expert:ident = $name:literal;)+) => {
        $(
            mod $file;
            pub use $file::*;
        )+

        /// Settings of any expert. In files, `expert` tells the experts apart.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "expert")]
        pub enum ExpertConfig {
            $(
                #[doc = concat!("Those of a [`", stringify!($expert), "`], `", $name, "`.")]
                #[serde(rename = $name)]
                $expert($config),
            )+
        }

        impl $crate::energy::ExpertSettings for ExpertConfig {
            fn weight(&self) -> $crate::energy::Weight {
                match self {
                    $(Self::$expert(config) => config.weight(),)+
                }
            }

            fn cost(&self) -> $crate::cost::ExpertCost {
                match self {
                    $(Self::$expert(config) => config.cost(),)+
                }
            }

            fn settle(
                &self,
                low_pass_factor: usize,
                task: &$crate::settings::TaskFacts,
            ) -> anyhow::Result<Self> {
                Ok(match self {
                    $(
                        Self::$expert(config) => {
                            Self::$expert(config.settle(low_pass_factor, task)?)
                        }
                    )+
                })
            }

            fn build<'a>(
                &self,
                networks: &$crate::settings::Networks<'a>,
            ) -> anyhow::Result<Box<dyn $crate::energy::Expert + 'a>> {
                match self {
                    $(Self::$expert(config) => config.build(networks),)+
                }
            }
        }
    };
}
pub(super) use experts;
