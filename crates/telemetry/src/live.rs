//! Values that can be exchanged while requests run, and settings with a few named choices.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that many read and one exchanges.
#[derive(Debug, Default)]
pub struct Live<T>(Arc<RwLock<T>>);

// === impl Live ===

impl<T: Clone> Live<T> {
    /// Holds `value` first.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(value)))
    }

    /// What holds now.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What holds from now on.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Declares a setting with named choices, the first of which is the default.
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $name:ident = $variable:literal {
            $(#[$first_meta:meta])* $first:ident = $first_word:literal,
            $($(#[$more_meta:meta])* $more:ident = $word:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            $(#[$first_meta])* #[default] $first,
            $($(#[$more_meta])* $more,)*
        }

        impl $name {
            const ALLOWED: &'static str = concat!($first_word $(, ", ", $word)*);

            /// The setting that chooses.
            pub const VARIABLE: $crate::config::LiveVariable = $crate::config::LiveVariable {
                name: $variable,
                allowed: Self::ALLOWED,
                check: |word| Self::parse(word).map(drop),
            };

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
            pub fn read(env: &impl $crate::config::Environment) -> Result<Self, $crate::ConfigError> {
                $crate::config::read(env, $variable, Self::ALLOWED, Self::parse).map(Option::unwrap_or_default)
            }
        }
    };
}
