//! What the list of network families makes.

/// Declares the families, each as `file::Network(Config) = "kind";`, and makes everything that
/// follows from the list: [`NetworkConfig`] with its dispatches, and [`Build`](super::Build) for
/// each network. Families under `diffusion` implement [`NoisePredictor`](super::NoisePredictor).
macro_rules! families {
    (
        diffusion {
            $($file:ident::$network:ident($config:ident) = $kind:literal;)+
        }
        others {
            $($other_file:ident::$other:ident($other_config:ident) = $other_kind:literal;)+
        }
    ) => {
        $crate::networks::families::families! {
            $($file::$network($config) = $kind;)+
            $($other_file::$other($other_config) = $other_kind;)+
        }

        impl NetworkConfig {
            /// What the configuration says about its diffusion family, if it is of one.
            fn diffusion_family(&self) -> Option<$crate::networks::diffusion::Family> {
                use $crate::networks::diffusion::Family;
                match self {
                    $(Self::$network(config) => Some(Family::new::<$network>(config)),)+
                    $(Self::$other(_) => None,)+
                }
            }
        }
    };
    ($($file:ident::$network:ident($config:ident) = $kind:literal;)+) => {
        $(
            pub mod $file;
            pub use $file::{$config, $network};

            impl $crate::networks::Build for $network {
                type Config = $config;
                const KIND: &'static str = $kind;

                fn build(path: &tch::nn::Path, config: &$config) -> Self {
                    $network::new(path, config)
                }

                fn select(config: &NetworkConfig) -> Option<&$config> {
                    match config {
                        NetworkConfig::$network(config) => Some(config),
                        _ => None,
                    }
                }
            }
        )+

        /// Configuration of a network of any family. In files, `kind` tells the families apart.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind")]
        pub enum NetworkConfig {
            $(
                #[doc = concat!("Of a [`", stringify!($network), "`]; its kind is `", $kind, "`.")]
                #[serde(rename = $kind)]
                $network($config),
            )+
        }

        impl NetworkConfig {
            /// Name of the family in configuration files.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$network(_) => $kind,)+
                }
            }

            /// Checks that a network can be built of these numbers, which may come from a file of
            /// unknown origin. The error says what is wrong with them.
            pub fn check(&self) -> anyhow::Result<()> {
                match self {
                    $(Self::$network(config) => config.check(),)+
                }
            }

            /// Keys and shapes of all weights of the network. Errors as [`NetworkConfig::check`].
            pub fn weight_shapes(
                &self,
            ) -> anyhow::Result<std::collections::BTreeMap<String, Vec<i64>>> {
                use $crate::networks::loaded::weight_shapes;
                match self {
                    $(Self::$network(_) => weight_shapes::<$network>(self),)+
                }
            }
        }
    };
}
pub(super) use families;
