//! One setting, and how its value is read.

use crate::environment::Environment;

/// A variable that can be changed while its service runs.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The variable, as operators write it.
    pub key: &'static str,
    /// What it decides, in a sentence for people.
    pub about: &'static str,
    /// The allowed values, in words for people.
    pub allowed: &'static str,
    /// The values to choose from.
    pub values: Values,
    /// What applies if it is unset and the service's environment does not say otherwise, in words for people.
    pub default: &'static str,
    /// Why a value is not allowed, if it is not.
    pub check: fn(&str) -> Result<(), String>,
}

/// Values to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// No other is allowed.
    Only(&'static [&'static str]),
    /// Others may be allowed too.
    SuchAs(&'static [&'static str]),
}

/// A variable with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value}: {reason}; allowed: {allowed}")]
pub struct ConfigError {
    pub variable: &'static str,
    /// What it says.
    pub value: String,
    /// What is wrong with that.
    pub reason: String,
    /// What may be written instead.
    pub allowed: &'static str,
}

/// Reads one variable; `None` if it is unset.
///
/// # Errors
/// What `parse` says about the value, together with what is allowed.
pub fn read<T>(
    env: &dyn Environment,
    variable: &'static str,
    allowed: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = env.get(variable) else { return Ok(None) };
    parse(value.trim()).map(Some).map_err(|reason| ConfigError { variable, value, reason, allowed })
}

/// Whether every SDK reads this variable from its environment when it starts; all others are the lab's own.
#[must_use]
pub fn is_standard(key: &str) -> bool {
    key.starts_with("OTEL_")
}

// === impl Setting ===

impl Setting {
    /// A setting of free text without a default.
    #[must_use]
    pub const fn new(
        key: &'static str,
        about: &'static str,
        allowed: &'static str,
        check: fn(&str) -> Result<(), String>,
    ) -> Self {
        Self { key, about, allowed, values: Values::SuchAs(&[]), default: "none", check }
    }

    /// The same with its default.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    /// The same with values to choose from.
    #[must_use]
    pub const fn with(self, values: Values) -> Self {
        Self { values, ..self }
    }

    /// Reads the value of this setting; `None` if it is unset.
    ///
    /// # Errors
    /// What `parse` says about the value, together with what is allowed.
    pub fn read<T>(
        &self,
        env: &dyn Environment,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        read(env, self.key, self.allowed, parse)
    }
}
