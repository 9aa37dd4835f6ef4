//! Where values come from.

use std::collections::BTreeMap;

/// The process environment, a map in a test, or one laid over the other.
pub trait Environment {
    /// The value of a variable; an empty value counts as unset, as [OpenTelemetry's specification] demands.
    ///
    /// [OpenTelemetry's specification]: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#parsing-empty-value
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnvironment;

/// Some values laid over others.
#[derive(Debug)]
pub struct Overlay<Over, Base> {
    /// Looked at first.
    pub over: Over,
    /// Looked at second.
    pub base: Base,
}

// === impl Environment ===

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).filter(|value| !value.is_empty()).cloned()
    }
}

impl<Over: Environment, Base: Environment> Environment for Overlay<Over, Base> {
    fn get(&self, name: &str) -> Option<String> {
        self.over.get(name).or_else(|| self.base.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_wins_where_it_has_a_value() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let environment =
            Overlay { over: map(&[("a", "over"), ("b", "")]), base: map(&[("a", "base"), ("b", "base")]) };
        let table =
            [("a", Some("over"), "set twice"), ("b", Some("base"), "empty is unset"), ("c", None, "set nowhere")];
        for (name, value, why) in table {
            assert_eq!(environment.get(name).as_deref(), value, "{why}");
        }
    }
}
