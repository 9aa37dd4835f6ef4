//! The settings of each service.

use std::collections::BTreeMap;

use chain::spelling::did_you_mean;
use chain::{Service, UnknownService};

use crate::setting::Setting;

/// The settings of every service.
#[derive(Clone, Debug, Default)]
pub struct Schema(BTreeMap<Service, Vec<&'static [Setting]>>);

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The chain has no such service.
    #[error(transparent)]
    Service(#[from] UnknownService),
    /// The service has no such setting.
    #[error("unknown setting `{key}` of {service}; {known}")]
    Key {
        service: Service,
        /// The key that it does not have.
        key: String,
        /// The keys that it has and the one that was likely meant, in words.
        known: String,
    },
    /// The setting does not take the value.
    #[error("`{value}` is not allowed for {key} of {service}: {reason}; allowed: {allowed}")]
    Value {
        service: Service,
        key: &'static str,
        value: String,
        /// What the setting's check said.
        reason: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

// === impl Schema ===

impl Schema {
    /// A schema in which no service takes any setting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds settings of one service to those that it has.
    #[must_use]
    pub fn with(mut self, service: Service, settings: &'static [Setting]) -> Self {
        self.0.entry(service).or_default().push(settings);
        self
    }

    /// The settings that a service takes, in the order in which they were added.
    pub fn settings(&self, service: Service) -> impl Iterator<Item = &'static Setting> {
        self.0.get(&service).into_iter().flatten().copied().flatten()
    }

    /// Checks one setting.
    ///
    /// # Errors
    /// [`SettingError`] names what is wrong (service, key or value) and what is allowed there.
    pub fn check(&self, service: &str, key: &str, value: &str) -> Result<(), SettingError> {
        let service: Service = service.parse()?;
        let Some(setting) = self.settings(service).find(|setting| setting.key == key) else {
            return Err(SettingError::Key { service, key: key.to_owned(), known: self.known(service, key) });
        };
        (setting.check)(value).map_err(|reason| SettingError::Value {
            service,
            key: setting.key,
            value: value.to_owned(),
            reason,
            allowed: setting.allowed,
        })
    }

    fn known(&self, service: Service, key: &str) -> String {
        let keys: Vec<_> = self.settings(service).map(|setting| setting.key).collect();
        if keys.is_empty() {
            return "it has no settings".to_owned();
        }
        format!("its settings are {}{}", keys.join(", "), did_you_mean(key, keys.iter().copied()))
    }
}
