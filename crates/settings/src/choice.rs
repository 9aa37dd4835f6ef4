//! Settings with a few named choices.

/// Declares a setting with named choices, the first of which is the default. Its documentation is what people read of it.
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        $name:ident = $variable:literal {
            $(#[$first_meta:meta])* $first:ident = $first_word:literal,
            $($(#[$more_meta:meta])* $more:ident = $word:literal,)*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            $(#[$first_meta])* #[default] $first,
            $($(#[$more_meta])* $more,)*
        }

        impl $name {
            pub const SETTING: $crate::Setting = $crate::Setting::new(
                $variable,
                concat!($($about),+).trim_ascii(),
                concat!($first_word $(, ", ", $word)*),
                |word| Self::parse(word).map(drop),
            )
            .with($crate::Values::Only(&[$first_word $(, $word)*]))
            .or($first_word);

            fn parse(word: &str) -> Result<Self, String> {
                match word {
                    $first_word => Ok(Self::$first),
                    $($word => Ok(Self::$more),)*
                    _ => Err("unknown choice".to_owned()),
                }
            }

            /// What the environment chooses.
            ///
            /// # Errors
            /// A word that is no choice.
            pub fn read(env: &dyn $crate::Environment) -> Result<Self, $crate::ConfigError> {
                Self::SETTING.read(env, Self::parse).map(Option::unwrap_or_default)
            }
        }
    };
}
